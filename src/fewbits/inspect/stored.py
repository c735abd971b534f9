"""What is stored of a weight, down to the bits of a few groups."""

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits.inspect.errors import sorted_codes
from fewbits.inspect.values import GroupBits, StoredView
from fewbits.meta import FLOATS
from fewbits.scheme import Scheme
from fewbits.tensor import QuantizedTensor, decode, matrix_shape

SHOWN = 8  # weights of a group: their codes are as many bytes as a code has bits


def stored_view(scheme: Scheme, stored: QuantizedTensor, weight: Float[Tensor, "..."] | None) -> StoredView:
    """Look at what is stored; `weight` is the original's, where there is one."""
    codes = stored.codes()
    used = torch.bincount(codes.view(-1).int(), minlength=stored.format.levels)
    share = used[used > 0] / used.sum()
    scale = stored.scale()
    rows, cols = matrix_shape(stored.shape)
    r, c = stored.format.block(rows, cols)
    quantiles = torch.quantile(_sampled(scale), torch.tensor([0.0, 0.5, 1.0])).tolist()
    return StoredView(
        scheme=str(scheme),
        bits=stored.format.bits,
        nbytes=stored.nbytes,
        bits_per_weight=8 * stored.nbytes / codes.numel(),
        tensors={name: tensor.nbytes for name, tensor in stored.tensors.items()},
        groups=scale.numel(),
        group_size=r * c,
        grid=middling_grid(stored),
        scales=(quantiles[0], quantiles[1], quantiles[2]),
        used=tuple(used.tolist()),
        entropy=float(-(share * share.log2()).sum()),
        shown=tuple(group_bits(stored, codes, weight, at, why) for at, why in _chosen(stored, weight)),
    )


def middling_grid(stored: QuantizedTensor) -> tuple[float, ...]:
    """The values that the group of median scale can take, ascending."""
    scale, zero = stored.scale().reshape(-1), stored.zero()
    at = scale.argsort()[scale.numel() // 2]
    codes = sorted_codes(stored).view(1, 1, 1, -1)
    values = decode(stored.format, codes, scale[at].view(1, 1), None if zero is None else zero.reshape(-1)[at].view(1, 1))
    return tuple(values.view(-1).tolist())


def group_bits(
    stored: QuantizedTensor, codes: Tensor, weight: Float[Tensor, "..."] | None, group: tuple[int, int], why: str
) -> GroupBits:
    """The first weights of a group, given by its place among the scales."""
    rows, cols = matrix_shape(stored.shape)
    r, c = stored.format.block(rows, cols)
    top, left = group[0] * r, group[1] * c
    at = [(top + n // c, left + n % c) for n in range(min(SHOWN, r * c))]
    bits = stored.format.bits
    begins = [(row * cols + col) * bits for row, col in at]
    first, last = begins[0] // 8, (begins[-1] + bits - 1) // 8
    together = last - first < 8 * bits  # of a group over outputs the codes lie far from each other
    zero = stored.zero()
    row_index, col_index = (torch.tensor(each) for each in zip(*at, strict=True))
    values = stored.dequantize().view(rows, cols)[row_index, col_index]
    return GroupBits(
        why=why,
        at=tuple(at),
        size=r * c,
        scale=float(stored.scale()[group]),
        zero=None if zero is None else float(zero[group]),
        weights=() if weight is None else tuple(weight.reshape(rows, cols)[row_index, col_index].float().tolist()),
        codes=tuple(codes[row_index, col_index].tolist()),
        values=tuple(values.tolist()),
        bits_at=tuple(begins),
        first_byte=first,
        packed=bytes(stored.tensors["codes"][first : last + 1].tolist()) if together else b"",
        scale_bytes=_number(stored, "scale", group),
        zero_bytes=_number(stored, "zero", group),
    )


def _number(stored: QuantizedTensor, name: str, group: tuple[int, int]) -> bytes:
    """The bytes of a scale or zero point that is stored as a float of its own."""
    held = stored.tensors.get(name)
    if held is None or stored.format.meta not in FLOATS or held.dtype == torch.uint8:
        return b""
    flat = group[0] * stored.scale().shape[1] + group[1]
    return bytes(held[flat : flat + 1].view(torch.uint8).tolist())


def _chosen(stored: QuantizedTensor, weight: Float[Tensor, "..."] | None) -> list[tuple[tuple[int, int], str]]:
    """The first group; that of the largest error, where there is an original, and of the largest scale."""
    scale = stored.scale()
    across = scale.shape[1]
    found = {(0, 0): "the first group"}
    if weight is not None:
        rows, cols = matrix_shape(stored.shape)
        r, c = stored.format.block(rows, cols)
        error = (stored.dequantize().view(rows, cols) - weight.reshape(rows, cols).float()).square()
        worst = int(error.view(rows // r, r, cols // c, c).sum((1, 3)).argmax())
        found.setdefault(divmod(worst, across), "the group with the largest error")
    found.setdefault(divmod(int(scale.argmax()), across), "the group with the largest scale")
    return list(found.items())


def _sampled(scale: Tensor) -> Tensor:
    """At most 2**20 values, evenly spread: quantiles sort, and torch limits how many."""
    flat = scale.reshape(-1)
    return flat[:: -(-flat.numel() // (1 << 20))]
