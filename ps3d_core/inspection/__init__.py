"""A look at a scan before it is segmented: does the model understand it, how large are its particles, is it any good.

blocks.py reads a few dozen blocks at any scale, sighting.py applies the network to them and finds their particles,
size.py judges what is found at many sizes, quality.py looks at the scan's own faults, forecast.py says what to expect,
and inspect.py puts all of it together. record.py is what was found, settled.py what a segmentation takes from it.
"""
