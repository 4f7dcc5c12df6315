"""Bodies of known size and shape, and how far measures of their voxels are off."""
