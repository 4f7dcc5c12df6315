"""ParticleSeg3D pipeline library: arrays, stores and networks; knows nothing of the orchestrator above it."""

__version__ = "0.1.0"
