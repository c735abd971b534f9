"""A matrix as Hopper's copy engine takes it: boxes of rows and 64 columns that land in shared memory as wgmma reads them."""

from __future__ import annotations

import ctypes
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits.runtime import nvrtc

BYTES = 128  # of a map
COLUMNS = 64  # of a box: 128 bytes, the widest swizzle
_SORTS = {torch.float16: 6, torch.bfloat16: 9}  # CUtensorMapDataType
_PLAIN, _SWIZZLE_128, _PROMOTE_128, _ZEROS = 0, 3, 2, 0


def map_of(x: Float[Tensor, "rows cols"], rows: int) -> bytes:
    """The map of x for boxes of so many rows; x contiguous, bf16 or f16, its rows a multiple of 16 bytes."""
    return _map(x.data_ptr(), x.shape[0], x.shape[1], _SORTS[x.dtype], rows)


@lru_cache(maxsize=1024)  # a model's inputs mostly lie where they lay at the step before
def _map(address: int, rows: int, cols: int, sort: int, box_rows: int) -> bytes:
    room = ctypes.create_string_buffer(2 * BYTES)
    at = -ctypes.addressof(room) % 64  # the driver wants it aligned
    sizes, strides = (ctypes.c_uint64 * 2)(cols, rows), (ctypes.c_uint64 * 1)(2 * cols)
    box, steps = (ctypes.c_uint32 * 2)(COLUMNS, box_rows), (ctypes.c_uint32 * 2)(1, 1)
    nvrtc.encode_tensor_map(
        ctypes.byref(room, at),
        sort,
        2,
        ctypes.c_void_p(address),
        sizes,
        strides,
        box,
        steps,
        _PLAIN,
        _SWIZZLE_128,
        _PROMOTE_128,
        _ZEROS,
    )
    return room.raw[at : at + BYTES]
