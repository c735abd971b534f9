"""The tiles that GPU kernels read: where each code stands, and that nothing is lost."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewbits.runtime.layout import from_tiles, to_tiles
from fewbits.runtime.weight import repack, supports
from fewbits.scheme import Scheme

SCHEMES = [
    ("uint4g64", (40, 192)),
    ("int8", (33, 100)),
    ("nf4g64", (16, 128)),
    ("uint3g128", (16, 256)),
    ("uint2g64", (48, 64)),
]


@given(bits=st.sampled_from([2, 3, 4, 8]), rows=st.integers(1, 40), cols=st.integers(1, 150))
@settings(max_examples=25, deadline=None)
def test_tiles_give_back_their_codes(bits: int, rows: int, cols: int) -> None:
    codes = torch.randint(0, 1 << bits, (rows, cols), dtype=torch.uint8)
    assert torch.equal(from_tiles(to_tiles(codes, bits), bits, rows, cols), codes)


def test_four_bits_stand_where_the_tensor_cores_want_them() -> None:
    codes = torch.randint(0, 16, (32, 128), dtype=torch.uint8)
    words = to_tiles(codes, 4).view(2, 2, 8, 4, 4)
    for n, kb, g, t, j, i, h in [(0, 0, 0, 0, 0, 0, 0), (1, 1, 7, 3, 3, 3, 1), (0, 1, 3, 2, 1, 2, 0), (1, 0, 5, 1, 2, 1, 1)]:
        word = int(words[n, kb, g, t, j]) & 0xFFFFFFFF
        assert word >> (4 * i + 16 * h) & 15 == codes[16 * n + g + 8 * (i % 2), 64 * kb + 32 * (i // 2) + 16 * h + 4 * t + j]


@pytest.mark.parametrize(("scheme", "shape"), SCHEMES)
def test_a_repacked_weight_stands_for_the_same_values(scheme: str, shape: tuple[int, int]) -> None:
    quantized = Scheme.parse(scheme).quantize(torch.randn(shape))
    weight = repack(quantized)
    assert weight is not None
    assert torch.equal(weight.dequantize(), quantized.dequantize())
    ids = torch.tensor([3, 9, 15, 0])
    assert torch.equal(weight.dequantize_rows(ids), quantized.dequantize()[ids])


@pytest.mark.parametrize("scheme", ["uint5g64", "nf3g64", "int8a8", "uint4g64o", "uint4g32"])
def test_other_formats_are_left_to_the_plain_path(scheme: str) -> None:
    assert supports(Scheme.parse(scheme).format, (192, 192)) is not None
