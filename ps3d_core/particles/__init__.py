"""Particles as numbers: measurements, table, size distribution, pictures and report."""
