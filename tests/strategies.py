"""Formats to test with: every kind and width, and hypothesis' choice of all that the grammar allows."""

from itertools import product
from math import prod
from typing import cast

import torch
from hypothesis import strategies as st

from fewbits import meta
from fewbits.formats import WIDTHS, Format, Kind, Meta
from fewbits.packing import pack
from fewbits.tensor import QuantizedTensor, assemble, grid_shape, matrix_shape

METAS = ("f32", "f16", "bf16", "q8")
KINDS = [f"{kind}{bits}" for kind, widths in WIDTHS.items() for bits in widths]
ENCODINGS = [*((kind, "") for kind in KINDS), *((f"uint{bits}", "z") for bits in WIDTHS["uint"])]


def every_format_of(kind: str, z: str) -> list[str]:
    """A kind in every granularity and with every type of scales."""
    return [f"{kind}{grain}{z}/{meta}" for grain, meta in product(("t", "", "g8", "g4o"), METAS)]


EVERY = [text for kind, z in ENCODINGS for text in every_format_of(kind, z)]


@st.composite
def formats(draw: st.DrawFn) -> Format:
    """Any format that the grammar allows."""
    kind = cast(Kind, draw(st.sampled_from(list(WIDTHS))))
    granularity = draw(st.sampled_from(["tensor", "channel", "group", "outgroup"]))
    return Format(
        kind=kind,
        bits=draw(st.sampled_from(WIDTHS[kind])),
        granularity=granularity,
        group=draw(st.integers(1, 10**6)) if "group" in granularity else 0,
        integer_zero=kind == "uint" and draw(st.booleans()),
        activation_bits=draw(st.sampled_from([None, 8])),
        meta=cast(Meta, draw(st.sampled_from(METAS))),
    )


def random_quantized(format: Format, shape: tuple[int, ...], seed: int = 0) -> QuantizedTensor:
    """A quantized tensor of random codes (no NaN of fp8), scales and zero points."""
    draw = torch.Generator().manual_seed(seed)
    rows, cols = matrix_shape(shape)
    codes = torch.randint(0, format.levels, (rows, cols), dtype=torch.uint8, generator=draw)
    if (format.kind, format.bits) == ("fp", 8):
        codes[codes & 127 == 127] = 0
    count = prod(grid_shape(format, shape))
    stored = meta.store("scale", torch.rand(count, generator=draw) + 0.5, format.meta)
    if format.integer_zero:
        stored["zero"] = pack(torch.randint(0, format.levels, (count,), dtype=torch.uint8, generator=draw), format.bits)
    elif format.has_zero:
        stored |= meta.store("zero", torch.rand(count, generator=draw) * (format.levels - 1), format.meta)
    return assemble(format, shape, codes, stored)
