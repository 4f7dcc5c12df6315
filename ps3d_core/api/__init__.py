"""What `import ps3d_core as ps3d` offers to Python: the pipeline on arrays, paths and URLs, in one call each."""
