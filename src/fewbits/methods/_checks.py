"""What a weight must be before it is quantized: floats, all of them finite."""

import math

import torch
from jaxtyping import Shaped
from torch import Tensor

from fewbits import solvers_cpu
from fewbits.errors import FewbitsError
from fewbits.methods._threads import one_thread_each

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def check_dtype(weight: Shaped[Tensor, "..."]) -> None:
    """Raise FewbitsError unless a weight is of a float dtype that numbers are computed in."""
    if weight.dtype not in FLOATS:
        raise FewbitsError(
            f"its weight is {str(weight.dtype).removeprefix('torch.')}: only float32, float16, bfloat16 and float64 can be"
            " quantized; start from the original model, or --skip this layer"
        )


def check_finite(weight: Shaped[Tensor, "..."]) -> None:
    """Raise FewbitsError for a weight without values, or that counts the values which are NaN or infinite."""
    if not weight.numel():
        raise FewbitsError(f"its weight of shape {tuple(weight.shape)} is empty: --skip this layer")
    if weight.is_meta:
        return
    if _all_finite(weight.detach()):
        return
    bad = weight.numel() - int(torch.isfinite(weight).sum())
    raise FewbitsError(
        f"{bad} of its {weight.numel():,} weights are NaN or infinite: mend the checkpoint, or --skip this layer"
    )


def _all_finite(weight: Shaped[Tensor, "..."]) -> bool:
    if (fine := solvers_cpu.finite(weight, torch.get_num_threads())) is not None:
        return fine
    with one_thread_each(weight.device):
        return all(math.isfinite(end) for end in weight.aminmax())  # NaN passes through it
