"""Weights of any size: what is stored keeps its relative precision, or the weight is refused. Zeros stay exact zeros."""

import os
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fewbits.errors import FewbitsError
from fewbits.formats import Format
from fewbits.scheme import Scheme
from tests.methods.groups import randn
from tests.strategies import EVERY
from tests.test_solvers import without_solvers

FUZZ = int(os.environ.get("FEWBITS_FUZZ", "1"))
WEIGHT = randn(16, 64)
METHODS = {"uint": ("rtn", "hqq", "mse"), "int": ("rtn", "hqq", "mse"), "nf": ("absmax", "mse"), "fp": ("absmax", "mse")}


def error(made: Tensor, weight: Tensor) -> float:
    difference = made.double() - weight.double()
    return float(difference.norm() / weight.double().norm())


schemes = st.sampled_from([f"{m}:{text}" for text in EVERY for m in METHODS[Format.parse(text).kind]])


@settings(max_examples=60 * FUZZ, deadline=None)
@given(text=schemes, power=st.integers(-100, 100), compiled=st.booleans())
def test_the_relative_error_does_not_depend_on_the_size_of_the_weights(text: str, power: int, compiled: bool) -> None:
    scheme = Scheme.parse(text)
    expected = error(scheme.quantize(WEIGHT).dequantize(), WEIGHT)
    weight = WEIGHT * 2.0**power
    try:
        if compiled:
            made = scheme.quantize(weight)
        else:
            with without_solvers():
                made = scheme.quantize(weight)
    except FewbitsError as refused:
        assert power > 0 and "overflows /f16" in str(refused)
        return
    assert error(made.dequantize(), weight) <= 1.05 * expected + 1e-5
    assert replace(made.format, exponent=0) == scheme.format


@pytest.mark.parametrize(
    "text", ["rtn:uint4g8", "hqq:uint3g8", "mse:int4", "nf4g8", "fp8", "rtn:uint8g8z", "rtn:int2/q8", "rtn:uint4g8/q8"]
)
@pytest.mark.parametrize("small", [1e-5, 1e-7, 1e-12, 1e-30])
def test_tiny_groups_beside_large_ones_keep_their_precision(text: str, small: float) -> None:
    weight = WEIGHT.clone()
    weight[3] *= small
    made = Scheme.parse(text).quantize(weight)
    expected = error(Scheme.parse(text).quantize(WEIGHT).dequantize()[3], WEIGHT[3])
    assert error(made.dequantize()[3], weight[3]) <= 1.3 * expected + 0.01
    assert error(made.dequantize(), weight) <= 1.05 * error(Scheme.parse(text).quantize(WEIGHT).dequantize(), WEIGHT) + 0.01


@pytest.mark.parametrize("text", ["rtn:uint4g8", "rtn:int8", "nf4/q8", "rtn:uint4g8/q8", "hqq:uint8/bf16", "fp8"])
def test_ordinary_weights_are_stored_as_their_scheme_says(text: str) -> None:
    scheme = Scheme.parse(text)
    for size in (0.02, 1.0, 50.0):
        assert scheme.quantize(WEIGHT * size).format == scheme.format


def test_the_exponent_is_in_the_format_and_in_the_scales() -> None:
    made = Scheme.parse("rtn:uint4g8").quantize(WEIGHT * 2.0**-40)
    plain = Scheme.parse("rtn:uint4g8").quantize(WEIGHT)
    assert str(made.format).startswith("uint4g8/f16e-")
    assert torch.equal(made.codes(), plain.codes())
    assert torch.equal(made.scale(), plain.scale() * 2.0**-40)
    again = Scheme.parse(f"rtn:{made.format}").quantize(WEIGHT * 2.0**-40)
    assert all(torch.equal(again.tensors[name], t) for name, t in made.tensors.items())


def test_scales_too_far_apart_for_f16_are_stored_as_bf16() -> None:
    weight = WEIGHT.clone()
    weight[3] *= 1e-12
    for text in ("rtn:uint4g8", "rtn:uint4g8/q8"):
        assert str(Scheme.parse(text).quantize(weight).format) == "uint4g8/bf16"


@pytest.mark.parametrize("compiled", [True, False])
@settings(max_examples=40 * FUZZ, deadline=None)
@given(text=schemes, size=st.sampled_from([1.0, 1e-6, 1e-20]), zero=st.sampled_from([0.0, -0.0]))
def test_groups_of_zeros_decode_to_zeros(compiled: bool, text: str, size: float, zero: float) -> None:
    scheme, weight = Scheme.parse(text), WEIGHT * size
    weight[4:8], weight[:, 8:16] = zero, zero
    if compiled:
        made = scheme.quantize(weight)
    else:
        with without_solvers():
            made = scheme.quantize(weight)
    r, c = made.format.block(16, 64)
    blocks = weight.view(16 // r, r, 64 // c, c)
    dead = (blocks == 0).all(dim=3, keepdim=True).all(dim=1, keepdim=True).expand_as(blocks).reshape(16, 64)
    assert (made.dequantize()[dead] == 0).all()
    assert made.dequantize().isfinite().all()
    assert made.dequantize()[~dead].any()
    assert (scheme.quantize(torch.full((16, 64), zero)).dequantize() == 0).all()


def test_a_scale_above_zero_in_a_q8_block_with_a_zero_is_never_read_as_zero() -> None:
    weight = randn(64, 64)
    weight[0] = 0
    weight[1] *= 3e-3
    made = Scheme.parse("rtn:uint4/q8").quantize(weight)
    assert (made.scale()[1:] > 0).all() and made.scale()[0] == 0


def test_weights_too_small_for_their_scales_are_refused() -> None:
    for text in ("rtn:uint4g8", "nf4/bf16", "rtn:int8/bf16", "hqq:uint4"):
        with pytest.raises(FewbitsError, match=r"its largest weight is \S+, too small for .*--skip this layer"):
            Scheme.parse(text).quantize(WEIGHT * 2.0**-110)
    for text in ("rtn:uint4g8", "nf4/f32", "rtn:int8/bf16", "hqq:uint4/q8"):
        with pytest.raises(FewbitsError, match="too small for"):
            Scheme.parse(text).quantize(WEIGHT.double() * 1e-200)
    for text in ("nf4g8/f32", "rtn:int8/f32", "hqq:uint4/f32"):  # as precise as such weights are themselves
        weight = WEIGHT * 2.0**-110 * 2.0**-20
        assert error(Scheme.parse(text).quantize(weight).dequantize(), weight) < 0.2


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_weights_that_are_no_floats_are_refused(dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    for text in ("rtn:uint4g8", "nf4"):
        with pytest.raises(FewbitsError, match=f"its weight is {name}: only float32"):
            Scheme.parse(text).quantize(torch.ones(16, 64).to(dtype))


def test_float64_beyond_f32_is_refused() -> None:
    with pytest.raises(FewbitsError):
        Scheme.parse("rtn:int8/f32").quantize(WEIGHT.double() * 1e200)
