"""Codebooks of `nf` and `fp`: the value that each code stands for.

nf4/nf3/nf2: quantiles of the normal distribution, with an exact zero (Dettmers et al. 2023, QLoRA, arXiv:2305.14314, eq. 4).
             2**(b-1) are positive, one fewer negative; the outermost is the mean of the quantiles 1 - 1/(2n) for n = 2**b and
             n = 2**b - 1. nf4 is the paper's table to the last bit, as bitsandbytes has it.
fp4:         bitsandbytes' sign, two exponent and one mantissa bit with its own bias, in twelfths; codes as there.
fp8:         e4m3fn, the codes are the bytes of `torch.float8_e4m3fn`; its two NaN codes are never written.

The normal quantiles are written down, not computed: what a saved code stands for must not hang on a machine's `erfinv`.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits.formats import Format

_NORMAL_FLOAT = {
    2: (-1.0, 0.0, 0.435818166, 1.0),
    3: (-1.0, -0.535022736, -0.246931434, 0.0, 0.18333748, 0.381993949, 0.622985721, 1.0),
    4: (
        *(-1.0, -0.696192801, -0.525073051, -0.394917488, -0.284441382, -0.18477343, -0.0910500363, 0.0),
        *(0.0795802996, 0.160930201, 0.246112302, 0.337915242, 0.440709829, 0.562617004, 0.722956836, 1.0),
    ),
}
_FP4_TWELFTHS = (0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0)  # by code 0..7; 8..15 are negative


def codebook(kind: str, bits: int) -> Float[Tensor, " levels"]:
    """Values by code, f32 on the CPU: magnitudes up to 1 for nf and fp4, up to 448 for fp8."""
    return _BOOKS[kind, bits]


def _f32(values: Iterable[float]) -> Float[Tensor, " levels"]:
    return torch.tensor(tuple(values), dtype=torch.float32, device="cpu")  # whatever the defaults are


_BOOKS = {  # made at import: at the first use, a mode of PyTorch (tracing, fake tensors) might have its way with them
    **{("nf", bits): _f32(values) for bits, values in _NORMAL_FLOAT.items()},
    ("fp", 4): _f32([*_FP4_TWELFTHS, *(-m for m in _FP4_TWELFTHS)]) / 12,
    ("fp", 8): torch.arange(256, dtype=torch.uint8, device="cpu").view(torch.float8_e4m3fn).float(),
}


def codebook_of(format: Format, device: torch.device) -> Float[Tensor, " levels"]:
    """The codebook of an `nf` or `fp` format on a device."""
    return codebook(format.kind, format.bits).to(device)
