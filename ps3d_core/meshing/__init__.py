"""Surfaces of particles as closed meshes of triangles, for other programs."""
