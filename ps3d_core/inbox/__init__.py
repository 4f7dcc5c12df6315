"""Scans that arrive in an inbox and come out as particles. Read process.py first."""
