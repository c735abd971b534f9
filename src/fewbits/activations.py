"""Activations rounded to 8 bits (`a8`), a range for each row."""

from jaxtyping import Float
from torch import Tensor

from fewbits.runtime.modes import wants_gradient


def round_rows(x: Float[Tensor, "*batch i"]) -> Float[Tensor, "*batch i"]:
    """Round each row to 8 bits, symmetric, scale = max|x| / 127 (dynamic: taken from the row itself).

    Its derivative is that of the identity (straight-through, Bengio et al. 2013, arXiv:1308.3432): nothing is clipped, since
    the largest magnitude of a row is at the end of its range.
    """
    scale = x.detach().abs().amax(dim=-1, keepdim=True).float().clamp(min=1e-12) / 127
    rounded = ((x.detach() / scale).round().clamp(-127, 127) * scale).to(x.dtype)
    return rounded + (x - x.detach()) if wants_gradient(x, None) else rounded
