"""Networks: the model bundle, its architecture, the device it runs on, and the ensemble that predicts."""

from typing import Final

BUNDLED: Final = "bundled"
"""Name of the model that comes with the package."""
