"""Synthetic micro-CT scans of crushed material with exact ground truth, rendered box by box."""

from ps3d_core.phantom.params import Mineral, PhantomParams, Tube
from ps3d_core.phantom.render import Phantom, render
from ps3d_core.phantom.variety import random_params

__all__ = ["Mineral", "Phantom", "PhantomParams", "Tube", "random_params", "render"]
