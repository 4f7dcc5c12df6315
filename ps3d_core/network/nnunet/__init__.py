"""Models that nnU-Net trained, versions 1 and 2, made into bundles. nnU-Net itself is not needed."""
