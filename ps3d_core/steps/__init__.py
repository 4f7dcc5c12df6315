"""The steps of segmenting a scan, one per module; `ps3d_core.pipeline` says in which order."""
