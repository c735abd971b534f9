"""Products on a GPU, each beside bf16: weights come from far memory, as in a model that is larger than the cache."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F

from fewbits.doctor.gpu_limits import graph_seconds
from fewbits.doctor.layers import LayerTime
from fewbits.runtime import gpu
from fewbits.runtime.weight import KernelWeight, repack
from fewbits.scheme import Scheme

PLAIN = "bfloat16"
_CYCLED = 200e6  # bytes of copies that are gone through: over three times an H200's last cache


def time_products(rows: int, cols: int, schemes: Sequence[str], batches: Sequence[int]) -> list[LayerTime]:
    """Times of a layer in bf16 and in some schemes, for each batch; `kernel` is False where a scheme has none."""
    found: list[LayerTime] = []
    with torch.inference_mode():
        plain = torch.randn(rows, cols, device="cuda") * 0.02
        dense = [plain.bfloat16() for _ in range(_copies(rows * cols * 2))]
        for batch in batches:
            x = torch.randn(batch, cols, device="cuda").bfloat16()
            seconds = graph_seconds([partial(F.linear, x, w) for w in dense])
            found.append(_time(rows, cols, PLAIN, batch, seconds, rows * cols * 2))
        del dense
        for name in schemes:
            packed = repack(Scheme.parse(name).quantize(plain))
            if packed is None:
                continue
            copies = [_copy(packed) for _ in range(_copies(packed.nbytes))]
            for batch in batches:
                x = torch.randn(batch, cols, device="cuda").bfloat16()
                seconds = graph_seconds([partial(gpu.product, w, x) for w in copies])
                found.append(_time(rows, cols, name, batch, seconds, packed.nbytes))
    return found


def _time(rows: int, cols: int, format: str, batch: int, seconds: float, nbytes: int) -> LayerTime:
    return LayerTime(rows=rows, cols=cols, format=format, batch=batch, seconds=seconds, nbytes=nbytes, kernel=format != PLAIN)


def _copy(weight: KernelWeight) -> KernelWeight:
    return replace(weight, words=weight.words.clone(), meta=weight.meta.clone())


def _copies(nbytes: int) -> int:
    return max(2, min(64, -(-int(_CYCLED) // nbytes)))
