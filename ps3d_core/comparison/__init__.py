"""Results of several scans side by side, and whether they differ."""
