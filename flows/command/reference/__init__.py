"""The commands of ParticleSeg3D, the reference, under their names and with their flags."""
