"""Training with nnU-Net 2: planned, run in processes of its own, checked in particles, packed as a bundle."""
