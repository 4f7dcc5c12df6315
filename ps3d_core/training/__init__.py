"""Training: instance labels to border-core targets, patches from phantoms, and the bundled model."""
