"""Meta: how a scale or a zero point itself is stored.

Floats are held as the integers of their bits (f16 as int16, f32 as int32), in memory and on disk: nothing that casts the
floats of a model (`model.half()`, a loader that was asked for another dtype) can then touch a scale by mistake.
`/q8` stores 8-bit codes and, for every 256 of them, a step and a base in f32: value ~ base + code * step. A scale of 0 (see
`methods._scales`) is exact: its block has base 0, and code 0 is used for it only.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fewbits.errors import FewbitsError
from fewbits.formats import META_BLOCK, Meta
from fewbits.pieces import Piece, meta_pieces

FLOATS: dict[Meta, torch.dtype] = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
_BITS = {torch.float32: torch.int32, torch.float16: torch.int16, torch.bfloat16: torch.int16}
_HELD: dict[str, torch.dtype] = {"uint8": torch.uint8, "int16": torch.int16, "int32": torch.int32}
Spec = dict[str, tuple[tuple[int, ...], torch.dtype]]


def spec(name: str, count: int, meta: Meta) -> Spec:
    """Shapes and dtypes of the tensors that store `count` values under `name`."""
    return as_spec(meta_pieces(name, count, meta))


def as_spec(pieces: Mapping[str, Piece]) -> Spec:
    """Shapes and torch dtypes of what is stored."""
    return {name: (piece.shape, _HELD[piece.held]) for name, piece in pieces.items()}


def store(name: str, values: Float[Tensor, " n"], meta: Meta) -> dict[str, Tensor]:
    """Store f32 values. Raises FewbitsError where a value overflows the type."""
    dtype = FLOATS.get(meta, torch.float32)  # /q8 keeps its steps in f32
    check_range(name, values.abs().max().item() if values.numel() else 0.0, meta)
    return _store_q8(name, values) if meta == "q8" else {name: values.to(dtype).view(_BITS[dtype])}


def check_range(name: str, most: float, meta: Meta) -> None:
    """Raise FewbitsError where the largest magnitude of some values overflows the type that stores them."""
    limit = torch.finfo(FLOATS.get(meta, torch.float32)).max
    if not most <= limit:  # NaN is not either
        way = "use /bf16 or /f32" if most <= torch.finfo(torch.float32).max else "scale the weight down, or --skip this layer"
        raise FewbitsError(f"its {name} of {most:.3g} overflows /{meta} (at most {limit:.5g}): {way}")


def read(name: str, tensors: Mapping[str, Tensor], meta: Meta, at: Int[Tensor, "..."] | None = None) -> Float[Tensor, "..."]:
    """The stored values, as f32: all of them, or those at some flat positions."""
    if meta != "q8":
        values = tensors[name].view(FLOATS[meta])
        return (values if at is None else values[at]).float()
    codes, steps = tensors[f"{name}_codes"], tensors[f"{name}_steps"].view(torch.float32)
    if at is None:
        at = torch.arange(codes.numel(), device=codes.device)
    step, base = steps[at // META_BLOCK].unbind(-1)
    return codes[at].float() * step + base


def times_power_of_two(name: str, tensors: Mapping[str, Tensor], meta: Meta, power: int) -> dict[str, Tensor]:
    """The stored tensors with the values of one of them times 2**power: exact unless they leave the normal range."""
    key, dtype = (f"{name}_steps", torch.float32) if meta == "q8" else (name, FLOATS[meta])
    half = power // 2  # 2**power itself may be out of range
    values = tensors[key].view(dtype) * 2.0**half * 2.0 ** (power - half)
    return {**tensors, key: values.view(_BITS[dtype])}


def _store_q8(name: str, values: Tensor) -> dict[str, Tensor]:
    short = -values.numel() % META_BLOCK
    blocks = torch.cat([values, values[-1:].expand(short)]).view(-1, META_BLOCK)
    low, high = blocks.aminmax(dim=1, keepdim=True)
    step = (high - low) / 255
    codes = ((blocks - low) / step.where(step > 0, torch.ones_like(step))).round_()
    if name == "scale":
        codes = codes.maximum(((low == 0) & (blocks > 0)).float())  # only a scale of 0 is read back as 0
    codes = codes.to(torch.uint8)
    steps = torch.cat([step, low], dim=1).contiguous().view(torch.int32)
    return {f"{name}_codes": codes.view(-1)[: values.numel()].clone(), f"{name}_steps": steps}
