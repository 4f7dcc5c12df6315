"""Granulometry: size distributions as laboratories give them, out of the columns of a particle table."""
