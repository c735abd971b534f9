"""Quantized tensors: to the byte what they store, and to the bit what they stand for."""

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewbits.codebooks import codebook
from fewbits.errors import FewbitsError, MisfitError
from fewbits.formats import Format
from fewbits.packing import pack
from fewbits.tensor import QuantizedTensor, assemble, decode, grid_shape, layout, matrix_shape
from tests.strategies import ENCODINGS, EVERY, every_format_of, random_quantized


def meta_bytes(count: int, meta: str) -> int:
    return {"f32": 4 * count, "f16": 2 * count, "bf16": 2 * count, "q8": count + 8 * math.ceil(count / 256)}[meta]


def expected_bytes(text: str, rows: int, cols: int) -> int:
    """By hand: codes, scales and zero points of a format, told from its name."""
    grain, meta = re.fullmatch(r"[a-z]+\d(t|g8|g4o|)z?/(\w+)", text).groups()
    bits, scales = int(re.search(r"\d", text)[0]), {"t": 1, "": rows, "g8": rows * cols // 8, "g4o": rows // 4 * cols}[grain]
    codes = math.ceil(rows * cols * bits / 8)
    if not text.startswith("uint"):
        return codes + meta_bytes(scales, meta)
    packed_zero = "z/" in text
    return codes + meta_bytes(scales, meta) + (math.ceil(scales * bits / 8) if packed_zero else meta_bytes(scales, meta))


@pytest.mark.parametrize(("kind", "z"), ENCODINGS)
@pytest.mark.parametrize(("rows", "cols"), [(12, 40), (36, 72)])  # 60 and 324 groups: within and over one /q8 block
def test_bytes_are_exact(kind: str, z: str, rows: int, cols: int) -> None:
    for text in every_format_of(kind, z):
        assert random_quantized(Format.parse(text), (rows, cols)).nbytes == expected_bytes(text, rows, cols), text


@pytest.mark.parametrize(("kind", "z"), ENCODINGS)
def test_bits_are_the_bits(kind: str, z: str) -> None:
    """3 bits are 3.0, with nothing beside the codes and one f32 scale (and zero) a tensor."""
    format = Format.parse(f"{kind}t{z}/f32")
    beside = 4 + (0 if not format.has_zero else 1 if z else 4)
    assert (random_quantized(format, (64, 40)).nbytes - beside) * 8 / (64 * 40) == format.bits


def test_odd_sizes_are_padded_once_at_the_end() -> None:
    tensor = random_quantized(Format.parse("int3t/f32"), (7, 11))
    assert tensor.nbytes == math.ceil(7 * 11 * 3 / 8) + 4


@pytest.mark.parametrize("text", EVERY[::3])  # 3 and 16 share no factor: every granularity meets every type of scales
def test_what_the_codes_stand_for(text: str) -> None:
    """By the formula of the docstring, in Python's own arithmetic."""
    format = Format.parse(text)
    tensor = random_quantized(format, (4, 16))
    codes, scale, zero = tensor.codes(), tensor.scale(), tensor.zero()
    r, c = format.block(4, 16)
    assert tuple(scale.shape) == (4 // r, 16 // c)
    values = tensor.dequantize()
    assert (values.shape, values.dtype) == ((4, 16), torch.float32)
    for i, j in ((0, 0), (0, 7), (0, 8), (1, 15), (3, 0), (3, 15)):
        code, step = int(codes[i, j]), float(scale[i // r, j // c])
        if zero is None:
            expected = float(codebook(format.kind, format.bits)[code]) * step
        else:
            expected = (code - float(zero[i // r, j // c])) * step
        assert float(values[i, j]) == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(("kind", "z"), ENCODINGS)
def test_codes_come_back(kind: str, z: str) -> None:
    format = Format.parse(f"{kind}{z}")
    for shape in ((8,), (8, 5), (8, 3, 3, 3), (1, 1)):
        rows, cols = matrix_shape(shape)
        codes = torch.randint(0, format.levels, (rows, cols), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
        made = random_quantized(format, shape)
        scales = {name: t for name, t in made.tensors.items() if name != "codes"}
        tensor = assemble(format, shape, codes, scales)
        assert torch.equal(tensor.codes(), codes), shape
        assert tensor.dequantize().shape == shape


def test_codes_that_are_not_contiguous_are_packed_in_order() -> None:
    format = Format.parse("uint3/f32")
    made = random_quantized(format, (6, 10))
    codes = made.codes().T.contiguous().T
    assert torch.equal(assemble(format, (6, 10), codes, made.tensors | {}).codes(), made.codes())


@pytest.mark.parametrize(("kind", "z"), ENCODINGS)
def test_rows_are_the_rows(kind: str, z: str) -> None:
    ids = torch.tensor([11, 0, 4, 4, 7])
    for text in every_format_of(kind, z):
        tensor = random_quantized(Format.parse(text), (12, 16))
        assert torch.equal(tensor.dequantize_rows(ids), tensor.dequantize()[ids]), text


@pytest.mark.parametrize(("kind", "z"), ENCODINGS)
def test_rows_that_begin_within_a_byte(kind: str, z: str) -> None:
    tensor = random_quantized(Format.parse(f"{kind}{z}"), (9, 5))
    ids = torch.tensor([8, 1, 3, 0])
    assert torch.equal(tensor.dequantize_rows(ids, torch.bfloat16), tensor.dequantize(torch.bfloat16)[ids])


@pytest.mark.parametrize("cols", [5, 8])
@pytest.mark.parametrize("bits", range(1, 9))
def test_no_rows_are_no_rows(bits: int, cols: int) -> None:
    tensor = random_quantized(Format.parse(f"int{bits}"), (6, cols))
    assert tensor.dequantize_rows(torch.empty(0, dtype=torch.long)).shape == (0, cols)


@pytest.mark.parametrize("cols", [5, 8])
@pytest.mark.parametrize("row", [-1, 6])
def test_a_row_that_is_not_there_is_refused(row: int, cols: int) -> None:
    """As torch's embedding does: a negative id is a mistake, not the last row."""
    tensor = random_quantized(Format.parse("int3"), (6, cols))
    with pytest.raises(IndexError):
        tensor.dequantize_rows(torch.tensor([0, row]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("text", ["uint4g8", "int3", "nf4g8/f32", "fp8"])
def test_other_dtypes_are_rounded_once(text: str, dtype: torch.dtype) -> None:
    tensor = random_quantized(Format.parse(text), (12, 40))
    assert torch.equal(tensor.dequantize(dtype), tensor.dequantize().to(dtype))


def test_reading_leaves_what_is_stored_alone() -> None:
    for text in ("int8", "uint8z/f32", "uint4/q8", "nf4/f32", "fp8/f32"):
        tensor = random_quantized(Format.parse(text), (12, 16))
        before = {name: t.clone() for name, t in tensor.tensors.items()}
        tensor.dequantize()
        tensor.dequantize_rows(torch.tensor([1, 2]))
        assert all(torch.equal(t, before[name]) for name, t in tensor.tensors.items()), text


def test_one_bit_int_stands_for_minus_and_plus_half_a_scale() -> None:
    format = Format.parse("int1t/f32")
    scale = torch.tensor([3.0]).view(torch.int32)
    tensor = assemble(format, (1, 2), torch.tensor([[0, 1]], dtype=torch.uint8), {"scale": scale})
    assert tensor.dequantize().tolist() == [[-1.5, 1.5]]


def test_the_zero_of_a_codebook_is_exactly_zero() -> None:
    for text, code in (("nf4", 7), ("nf3", 3), ("nf2", 1), ("fp4", 0), ("fp8", 0)):
        format = Format.parse(f"{text}t/f32")
        codes, scale = torch.full((1, 1, 1, 1), code, dtype=torch.uint8), torch.full((1, 1), 0.7)
        assert decode(format, codes, scale, None).item() == 0


def test_a_grid_of_a_convolution_spans_its_flattened_inputs() -> None:
    assert grid_shape(Format.parse("uint4g9"), (16, 4, 3, 3)) == (16, 4)
    assert grid_shape(Format.parse("uint4g4o"), (16, 4, 3, 3)) == (4, 36)
    with pytest.raises(MisfitError, match="groups of 16 do not divide its 36 inputs"):
        layout(Format.parse("uint4g16"), (16, 4, 3, 3))


@given(st.sampled_from(EVERY), st.sampled_from([(4, 8), (8, 24), (12, 2, 2, 2)]))
def test_layout_is_what_is_stored(text: str, shape: tuple[int, ...]) -> None:
    format = Format.parse(text)
    stored = random_quantized(format, shape).tensors
    assert {name: (tuple(t.shape), t.dtype) for name, t in stored.items()} == layout(format, shape)


def test_tensors_of_another_layout_are_refused() -> None:
    format = Format.parse("uint4g8z/f32")
    good = dict(random_quantized(format, (4, 16)).tensors)
    bad = {
        "codes": (good["codes"][:-1], "stores codes as (32,) torch.uint8, not (31,) torch.uint8"),
        "scale": (good["scale"].view(torch.float32), "stores scale as (8,) torch.int32, not (8,) torch.float32"),
        "zero": (None, "stores zero as (4,) torch.uint8, not nothing"),
    }
    for name, (tensor, says) in bad.items():
        tensors = {k: v for k, v in good.items() if k != name} | ({} if tensor is None else {name: tensor})
        with pytest.raises(FewbitsError, match=re.escape(f"uint4g8z/f32 of shape (4, 16) {says}")):
            QuantizedTensor(format=format, shape=(4, 16), tensors=tensors)


def test_integer_zero_points_are_packed_at_the_width_of_the_codes() -> None:
    format = Format.parse("uint3g8z/f32")
    zeros = torch.arange(8, dtype=torch.uint8)
    made = random_quantized(format, (4, 16))
    tensor = assemble(format, (4, 16), made.codes(), {"scale": made.tensors["scale"], "zero": pack(zeros, 3)})
    assert tensor.zero().tolist() == zeros.view(4, 2).tolist()
    assert tensor.tensors["zero"].numel() == 3
