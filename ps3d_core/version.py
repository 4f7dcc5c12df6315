"""The release of ps3d."""

__version__ = "0.1.0"
