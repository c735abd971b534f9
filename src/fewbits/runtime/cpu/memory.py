"""Memory for packed weights, in large pages where the system has them.

A product streams through megabytes once: with pages of 4 KiB it waits for the address of each page, with pages of 2 MiB hardly
ever. Weights are placed one behind the other in blocks of 32 MiB, so that no large page is left half empty but the last;
a block is given back when the last weight in it is gone.
"""

import ctypes
import threading

import torch
from jaxtyping import UInt8
from torch import Tensor

LARGE_PAGE = 2 << 20
BLOCK = 32 << 20
_ADVICE = 14  # MADV_HUGEPAGE
_lock = threading.Lock()
_block: Tensor = torch.empty(0, dtype=torch.uint8, device="cpu")
_used = 0


def room(nbytes: int) -> UInt8[Tensor, " n"]:
    """Bytes that begin at a cache line; not yet written."""
    global _block, _used
    size = -(-nbytes // 64) * 64
    with _lock, torch.inference_mode(False):  # an inference tensor could not be written to later
        if _used + size > _block.numel():
            _block, _used = _large_pages(max(BLOCK, size)), 0
        start, _used = _used, _used + size
        out = _block[start : start + nbytes]
        if _used == _block.numel():
            _block, _used = torch.empty(0, dtype=torch.uint8, device="cpu"), 0
    return out


def _large_pages(nbytes: int) -> Tensor:
    """Untouched memory that begins at a large page, and is asked for in large pages before it is touched."""
    whole = torch.empty(nbytes + LARGE_PAGE, dtype=torch.uint8, device="cpu")  # whatever the default device is
    out = whole[-whole.data_ptr() % LARGE_PAGE :][:nbytes]
    advise = getattr(ctypes.CDLL(None), "madvise", None)
    if advise is not None:  # advice: where it is not taken, the pages are small
        advise(ctypes.c_void_p(out.data_ptr()), ctypes.c_size_t(nbytes), _ADVICE)
    return out
