"""What a format stores for a weight: name, shape and type of every tensor, by arithmetic. The one truth about bytes.

`tensor.layout` makes torch tensors of it, `fewbits size` counts it without torch, which alone takes 2 s to import.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from types import MappingProxyType
from typing import Literal

from fewbits.formats import META_BLOCK, Format, Meta

Held = Literal["uint8", "int16", "int32"]
BYTES = {"uint8": 1, "int16": 2, "int32": 4, "int64": 8, "float16": 2, "bfloat16": 2, "float32": 4}  # of one element
_FLOATS: dict[Meta, tuple[Held, str]] = {
    "f32": ("int32", "float32"),
    "f16": ("int16", "float16"),
    "bf16": ("int16", "bfloat16"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One stored tensor. `held` is the dtype of its memory, `means` what its bits stand for: `uint4` for packed codes."""

    role: Literal["codes", "meta"]
    shape: tuple[int, ...]
    held: Held
    means: str

    @property
    def numel(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.numel * BYTES[self.held]


@lru_cache(maxsize=4096)
def pieces(format: Format, shape: tuple[int, ...]) -> Mapping[str, Piece]:
    """Every tensor that a quantized weight of this shape stores, by its name.

    Raises MisfitError where the group does not divide, FewbitsError where there is nothing to quantize.
    """
    scales = prod(grid_shape(format, shape))
    codes = (packed_bytes(prod(shape), format.bits),)
    stored = {"codes": Piece(role="codes", shape=codes, held="uint8", means=f"{format.kind}{format.bits}")}
    stored |= meta_pieces("scale", scales, format.meta)
    if format.integer_zero:
        zero = (packed_bytes(scales, format.bits),)
        stored["zero"] = Piece(role="meta", shape=zero, held="uint8", means=f"uint{format.bits}")
    elif format.has_zero:
        stored |= meta_pieces("zero", scales, format.meta)
    return MappingProxyType(stored)


def meta_pieces(name: str, count: int, meta: Meta) -> dict[str, Piece]:
    """What stores `count` scales or zero points under `name`."""
    if meta == "q8":
        steps = (-(-count // META_BLOCK), 2)
        return {
            f"{name}_codes": Piece(role="meta", shape=(count,), held="uint8", means="uint8"),
            f"{name}_steps": Piece(role="meta", shape=steps, held="int32", means="float32"),
        }
    held, means = _FLOATS[meta]
    return {name: Piece(role="meta", shape=(count,), held=held, means=means)}


def packed_bytes(count: int, bits: int) -> int:
    """Bytes that `count` codes of `bits` bits take."""
    return (count * bits + 7) // 8


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Outputs x inputs; a convolution's input channels and kernel are flattened to its inputs."""
    return shape[0], prod(shape[1:])


def grid_shape(format: Format, shape: tuple[int, ...]) -> tuple[int, int]:
    """Shape of the scale."""
    rows, cols = matrix_shape(shape)
    r, c = format.block(rows, cols)
    return rows // r, cols // c
