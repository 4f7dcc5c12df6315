"""What work takes of a machine: all constants that were measured, in one place. Plans are made of them, and kept to.

`python tests/benchmarks/memory_model.py` measures them again on the machine where it runs, and says where one is short.
The ones here were measured on Linux, with torch 2.13 and glibc.
"""

from __future__ import annotations

from typing import Final

_MIB: Final = 2**20

# Processes.

TORCH_BYTES: Final = 200 * _MIB
"""Of torch in every process that imports it, 160 MiB, and more just after an installation: see `WORKER_BYTES`."""
TORCH_CUDA_BYTES: Final = 600 * _MIB
"""Of torch that is built for CUDA, 510 MiB: it loads its libraries on any machine."""
OPENVINO_BYTES: Final = 80 * _MIB
"""Of OpenVINO that stays in a process: 33 MiB of libraries, 45 of networks compiled and released again.

While it predicts it is a part of `WORKER_BYTES`: there PyTorch's own passes take 100 MiB more than OpenVINO's.
"""
LEADER_BYTES: Final = 540 * _MIB
"""Of the process that leads worker processes, beside torch: libraries, and the network that it has timed."""
WORKER_BYTES: Final = 760 * _MIB
"""Of a worker that predicts, beside torch: interpreter, libraries, weights of a network of usual size.

Part of it: Linux maps more of files that were just written (of all libraries 380 MiB, later 210), and kernels are
compiled (50 MiB).
"""
BLOCK_WORKER_BYTES: Final = 400 * _MIB
"""Of a worker on blocks: interpreter, libraries, compiled kernels, and shards that are being packed or unpacked."""

# Prediction.

ACTIVATION_BYTES: Final = 4 * 5
"""Peak of a forward pass with float32, per voxel of a patch and feature map of the finest stage.

PyTorch gives it back after each patch. OpenVINO, which takes no more, keeps it for every network of an ensemble.
"""

# Blocks: peak bytes per voxel of a block with its halo.

INSTANCES_BYTES: Final = 12.0
"""Growth: labels, states, certainty, and the runs of what is pending, a checkerboard at worst (4 + 1 + 1 + 6).

Labelling takes no more: classes twice and runs (1 + 1 + 6), then runs and a slab of labels.
"""
VOTE_TARGET_BYTES, VOTE_SOURCE_BYTES = 4, 8
"""Labels brought to another grid, per voxel of either: those of the source once more while they are read."""
LABELS_BYTES: Final = 4 + 4
"""Labels to be measured, as uint32 and inside their halo, beside those that are stored; see `GREY_BYTES`."""
GREY_BYTES: Final = 4
"""Grey values as float32, beside those that are stored."""
CONTACTS_BYTES: Final = 9.0
"""Labels as stored and inside their halo; the table of pairs is small. 7 to 9 were measured on cubes without gaps."""
EVALUATION_BYTES: Final = 2 * (8 + 4) + 5 * 8
"""Two label images as stored and as uint32, and what their runs take where every voxel is a run of its own."""
PREPARATION_BYTES: Final = 20
"""Training data, per voxel of the network grid: values while they are resampled, or labels, distances and classes."""
PREPARATION_SOURCE_BYTES: Final = 4
"""Training data, per voxel of the source beside those that are stored: once more as float32 or uint32."""

# nnU-Net.

NNUNET_BYTES: Final = 60
"""Per voxel of a case while nnU-Net prepares it: several copies, and the positions of its foreground."""
NNUNET_DISK_BYTES: Final = 6
"""Per voxel of a case on disk: float32 and int16."""

# Time, of one worker, beside prediction. Measured on a folder, on 130 and 900 million voxels.

SECONDS_PER_NETWORK_VOXEL: Final = 200e-9
"""Particles on the network grid."""
SECONDS_PER_SCAN_VOXEL: Final = 140e-9
"""Labels, coarser levels, grey values and table on the scan grid, and contacts: 14 to 28e-9 of these, and reading."""
SECONDS_PER_SCAN: Final = 3.0
"""Grey values and report of any scan."""


def torch_bytes() -> int:
    """Return the bytes of memory that torch takes in every process that imports it; this one imports it."""
    import torch  # which commands without a network do without

    return TORCH_BYTES if torch.version.cuda is None else TORCH_CUDA_BYTES


# Copying volumes slab by slab.

SLABS_BYTES: Final = 4 * 2**30
"""Budget where none is given: flat enough slabs, and shards of full depth for slices of 8,000 voxels squared."""
