"""Round to nearest against its equations, worked out by hand and in Python."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fewbits.errors import FewbitsError
from fewbits.methods.rtn import RoundToNearest
from fewbits.scheme import Scheme

finite = st.floats(-100, 100, width=32).map(lambda v: round(v, 3))
groups = st.lists(finite, min_size=8, max_size=8)


def quantize(scheme: str, values: list[float]) -> tuple[list[int], float, float]:
    """Codes, scale and zero point of one group."""
    tensor = Scheme.parse(scheme).quantize(torch.tensor([values]))
    return tensor.codes()[0].tolist(), float(tensor.scale()), float(tensor.zero())


def test_uint_by_hand() -> None:
    """Range -1..2 in 3 steps: step 1, zero at code 1."""
    assert quantize("rtn:uint2/f32", [-1.0, 0.4, 1.2, 2.0]) == ([0, 1, 2, 3], 1.0, 1.0)
    assert quantize("rtn:uint2/f32", [3.0, 4.5, 6.0, 4.4]) == ([0, 2, 3, 1], 1.0, -3.0)  # the range need not hold 0


def test_uint_with_integer_zero_by_hand() -> None:
    """The range is made to hold 0, the zero point is rounded: 0..6 in 3 steps, and -1.4..1.6 with zero at 1.4."""
    assert quantize("rtn:uint2z/f32", [3.0, 4.5, 6.0, 1.1]) == ([2, 2, 3, 1], 2.0, 0.0)
    codes, scale, zero = quantize("rtn:uint2z/f32", [-1.4, 0.0, 0.4, 1.6])
    assert (codes, zero) == ([0, 1, 1, 3], 1.0)
    assert scale == pytest.approx(1.0)


def test_int_by_hand() -> None:
    """max|w| = 7.5 over half of 15 steps: step 1. The codes reach from -8 to 7, so +7.5 is clipped and -7.5 is not."""
    assert quantize("rtn:int4/f32", [-7.5, 7.5, 0.4, -2.6]) == ([0, 15, 8, 5], 1.0, 8.0)
    assert quantize("rtn:int1/f32", [-2.0, 3.0, -0.1, 0.1]) == ([0, 1, 0, 1], 6.0, 0.5)


@pytest.mark.parametrize("bits", range(1, 9))
@settings(max_examples=20)
@given(values=groups)
def test_uint_meets_the_ends_of_its_range(bits: int, values: list[float]) -> None:
    assume(max(values) - min(values) > 1e-2)
    tensor = Scheme.parse(f"rtn:uint{bits}/f32").quantize(torch.tensor([values]))
    assert float(tensor.scale()) == pytest.approx((max(values) - min(values)) / (2**bits - 1), rel=1e-6)
    made = tensor.dequantize()[0]
    assert float(made.min()) == pytest.approx(min(values), abs=1e-4)
    assert float(made.max()) == pytest.approx(max(values), abs=1e-4)
    assert (made - torch.tensor(values)).abs().max() <= 0.5 * float(tensor.scale()) + 1e-4


@pytest.mark.parametrize("bits", range(1, 9))
@settings(max_examples=20)
@given(values=groups)
def test_integer_zero_points_are_codes_and_zero_is_exact(bits: int, values: list[float]) -> None:
    values[3] = 0.0
    tensor = Scheme.parse(f"rtn:uint{bits}z/f32").quantize(torch.tensor([values]))
    zero = float(tensor.zero())
    assert zero == int(zero)
    assert 0 <= zero < 2**bits
    assert tensor.dequantize()[0, 3] == 0
    assert (tensor.dequantize()[0] - torch.tensor(values)).abs().max() <= float(tensor.scale()) * 1.001


@pytest.mark.parametrize("bits", range(2, 9))
@settings(max_examples=20)
@given(values=groups)
def test_int_is_symmetric_and_keeps_zero(bits: int, values: list[float]) -> None:
    values[3] = 0.0
    tensor = Scheme.parse(f"rtn:int{bits}/f32").quantize(torch.tensor([values]))
    assert tensor.dequantize()[0, 3] == 0
    if max(map(abs, values)) > 0:
        assert float(tensor.scale()) == pytest.approx(max(map(abs, values)) / ((2**bits - 1) / 2), rel=1e-6)
    assert (tensor.dequantize()[0] - torch.tensor(values)).abs().max() <= 0.5001 * float(tensor.scale())


@pytest.mark.parametrize(
    "scheme", ["rtn:uint4g8/f32", "rtn:uint2g16/f32", "rtn:uint4g8z/f32", "rtn:uint8/f32", "rtn:uint3tz/f32"]
)
@pytest.mark.parametrize("seed", range(5))
def test_quantizing_again_changes_no_code(scheme: str, seed: int) -> None:
    """`int` is not among them: its range reaches one step further down than up, so its largest weight may become larger."""
    first = Scheme.parse(scheme).quantize(torch.randn(16, 32, generator=torch.Generator().manual_seed(seed)))
    second = Scheme.parse(scheme).quantize(first.dequantize())
    assert torch.equal(second.codes(), first.codes())
    assert torch.allclose(second.dequantize(), first.dequantize(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scheme", ["rtn:uint4g8", "rtn:int4", "rtn:uint3z", "rtn:int8t"])
def test_the_scheme_follows_the_weight_when_it_is_scaled(scheme: str) -> None:
    weight = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    one, four = Scheme.parse(scheme).quantize(weight), Scheme.parse(scheme).quantize(4 * weight)
    assert torch.equal(one.codes(), four.codes())
    assert torch.equal(4 * one.dequantize(), four.dequantize())


def test_an_offset_costs_a_float_zero_point_nothing() -> None:
    weight = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    for meta, most in (("f32", 1e-3), ("f16", 0.02)):
        plain, moved = (Scheme.parse(f"rtn:uint4/{meta}").quantize(weight + offset) for offset in (0, 3))
        errors = [(plain.dequantize() - weight).norm(), (moved.dequantize() - weight - 3).norm()]
        assert errors[1] <= errors[0] * (1 + most)


@pytest.mark.parametrize("kind", ["nf4", "fp8"])
def test_codebooks_are_refused(kind: str) -> None:
    with pytest.raises(FewbitsError, match=f"rtn cannot make {kind}: it makes uint, int"):
        Scheme.parse(f"rtn:{kind}").quantize(torch.ones(2, 2))


def test_settings() -> None:
    assert RoundToNearest.name() == "rtn"
    with pytest.raises(TypeError):
        RoundToNearest(1)  # pyright: ignore[reportCallIssue]
