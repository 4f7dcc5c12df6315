"""Instances: border-core labels to particles, exactly, in blocks; and label images from one grid to another.

labels.py runs the stages in order, plan.py says where everything goes. The definition that no block, worker or machine
may change:

- a core is a 6-connected component of class 1; small cores become border (cores.py);
- every other foreground voxel goes to the nearest core, in 26-neighbour steps inside the foreground, ties to the core
  whose first voxel comes later in C order (growth.py in one block, rounds.py across blocks);
- a 26-connected component without a core is a particle of its own (coreless.py);
- particles far below the mean size are dropped, ids become 1..N (prune.py).

Blocks find pieces of components (components.py), pieces.py and seams.py join them. vote.py and to_scan_grid.py take the
result to the scan grid.
"""
