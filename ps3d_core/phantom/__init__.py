"""Synthetic micro-CT scans of crushed material with exact ground truth, rendered box by box."""
