"""Measuring of label images: which columns are chosen, the steps that find them, and the table they end in."""
