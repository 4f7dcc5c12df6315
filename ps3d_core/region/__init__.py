"""Which part of a scan is worked on: the inside of the sample's surroundings, see the README."""
