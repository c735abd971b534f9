"""What every method shares: rounding to the nearest code, pieces without seams, and what is refused."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewbits import methods
from fewbits.errors import FewbitsError, MisfitError
from fewbits.formats import Format
from fewbits.methods import base
from fewbits.methods.base import Fit, encode
from fewbits.scheme import Scheme
from fewbits.tensor import decode
from tests.strategies import ENCODINGS, EVERY, random_quantized

GRAINS = ["t", "", "g8", "g4o"]


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def all_codes(format: Format) -> torch.Tensor:
    codes = torch.arange(format.levels, dtype=torch.uint8)
    return codes[codes & 127 != 127] if (format.kind, format.bits) == ("fp", 8) else codes


@pytest.mark.parametrize(("kind", "z"), ENCODINGS)
@settings(max_examples=12)
@given(scale=st.floats(2.0**-20, 2.0**12), shift=st.floats(0, 1), seed=st.integers(0, 1000))
def test_no_other_code_is_nearer(kind: str, z: str, scale: float, shift: float, seed: int) -> None:
    """Brute force over all codes, in f64; the weights reach beyond the range on both sides."""
    format = Format.parse(f"{kind}{z}")
    zero = None
    if not format.is_codebook:
        zero = (format.levels - 1) * shift if format.has_zero else format.implicit_zero
        zero = torch.full((1, 1), float(round(zero) if z else zero))
    step, codes = torch.full((1, 1), scale), all_codes(format)
    values = decode(format, codes.view(1, 1, 1, -1), step, zero).view(-1).double()
    spread = float(values.max() - values.min()) + 1e-30
    weights = (torch.rand(64, generator=torch.Generator().manual_seed(seed)) * 1.4 - 0.2) * spread + float(values.min())
    chosen = encode(format, weights.view(1, 1, 1, -1), step, zero)
    made = decode(format, chosen, step, zero).view(-1).double()
    nearest = (weights.double()[:, None] - values).abs().min(dim=1).values
    assert ((made - weights).abs() <= nearest + 2e-6 * spread).all()


@pytest.mark.parametrize(("kind", "z"), ENCODINGS)
def test_the_border_is_half_way_between_two_codes(kind: str, z: str) -> None:
    """A hair below it is the lower code, a hair above the upper one."""
    format = Format.parse(f"{kind}{z}")
    zero = None if format.is_codebook else torch.full((1, 1), 1.0 if z else format.implicit_zero)
    step, codes = torch.full((1, 1), 0.5), all_codes(format)
    values = decode(format, codes.view(1, 1, 1, -1), step, zero).view(-1)
    values = values.unique()
    hair = 3e-6 * values.abs().max()
    borders = (values[1:] + values[:-1]) / 2
    for shift, expected in ((-hair, values[:-1]), (hair, values[1:])):
        made = encode(format, (borders + shift).view(1, 1, 1, -1), step, zero)
        inside = (borders.abs() > 4 * hair) | (hair * 4 < values.diff())  # the smallest of fp8 are nearer than a hair
        assert torch.equal(decode(format, made, step, zero).view(-1)[inside], expected[inside])


@pytest.mark.parametrize(("kind", "z"), ENCODINGS)
def test_encoding_what_was_decoded_gives_the_codes_back(kind: str, z: str) -> None:
    for seed, grain in enumerate(GRAINS):
        format = Format.parse(f"{kind}{grain}{z}/f32")
        made = random_quantized(format, (12, 16), seed)
        r, c = format.block(12, 16)
        codes = made.codes().view(12 // r, r, 16 // c, c)
        scale, zero = made.scale(), made.zero()
        again = encode(format, decode(format, codes, scale, zero), scale, zero)
        if kind == "fp4":  # its code 8 is a second zero, which is never needed
            codes = codes.where(codes != 8, 0)
        assert torch.equal(again, codes), format


def test_a_codebook_clips_to_its_ends() -> None:
    for text, low, high in (("nf4", 0, 15), ("nf2", 0, 3), ("fp4", 11, 3), ("fp8", 0xFE, 0x7E)):
        weights = torch.tensor([-1e6, 1e6]).view(1, 1, 1, 2)
        assert encode(Format.parse(text), weights, torch.ones(1, 1), None).flatten().tolist() == [low, high]


@pytest.mark.parametrize("text", EVERY[::5])  # 5 and 16 share no factor: every granularity meets every type of scales
def test_quantizing_makes_the_format(text: str) -> None:
    tensor = Scheme.parse(text).quantize(randn(12, 16))
    assert (tensor.format, tensor.shape) == (Format.parse(text), (12, 16))
    assert tensor.dequantize().isfinite().all()
    assert (tensor.scale() > 0).all()


@pytest.mark.parametrize("method", ["rtn", "absmax"])
@pytest.mark.parametrize("grain", GRAINS)
def test_pieces_leave_no_seam(method: str, grain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = randn(24, 40)
    kinds = ["nf3", "fp8"] if method == "absmax" else ["uint3", "int4", "uint5z"]
    for kind in kinds:
        scheme = Scheme.parse(f"{method}:{kind.rstrip('z')}{grain}{'z' * kind.endswith('z')}/q8")
        whole = scheme.quantize(weight)
        for chunk in (1, 39, 40, 41, 200, 24 * 40):
            monkeypatch.setattr(base, "CHUNK", chunk)
            parts = scheme.quantize(weight)
            assert all(torch.equal(parts.tensors[name], t) for name, t in whole.tensors.items()), (scheme, chunk)
        monkeypatch.undo()


def test_codes_are_rounded_under_the_scales_as_stored() -> None:
    """A scale in 16 bits differs from the one that was fitted; the codes must make up for it."""
    weight = randn(8, 64)
    for text in ("uint4", "uint4/bf16", "int6/bf16", "uint8g8/q8", "uint3z/bf16"):
        tensor = Scheme.parse(text).quantize(weight)
        step = tensor.scale().repeat_interleave(64 // tensor.scale().shape[1], dim=1)
        inside = (tensor.codes() > 0) & (tensor.codes() < tensor.format.levels - 1)
        assert inside.any()
        assert ((tensor.dequantize() - weight).abs()[inside] <= 0.5001 * step[inside]).all(), text


@pytest.mark.parametrize("text", ["rtn:uint4g8", "rtn:int3", "nf4g8", "fp8", "rtn:uint5g4o", "nf3t"])
def test_the_order_of_the_weight_in_memory_does_not_matter(text: str) -> None:
    weight, scheme = randn(16, 24), Scheme.parse(text)
    plain = scheme.quantize(weight)
    for other in (weight.T.contiguous().T, torch.stack([weight, -weight], dim=-1)[..., 0]):
        assert torch.equal(other, weight)
        assert torch.equal(scheme.quantize(other).codes(), plain.codes())


def test_a_convolution_is_quantized_as_its_flattened_matrix() -> None:
    weight = randn(8, 4, 3, 3)
    for text in ("rtn:uint4g9", "nf4", "rtn:int5t", "rtn:uint3g4o"):
        conv, flat = Scheme.parse(text).quantize(weight), Scheme.parse(text).quantize(weight.view(8, 36))
        assert conv.shape == (8, 4, 3, 3)
        assert torch.equal(conv.dequantize().view(8, 36), flat.dequantize())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_weights_are_quantized_in_f32(dtype: torch.dtype) -> None:
    weight = randn(8, 32).to(dtype)
    for text in ("rtn:uint4g8", "nf4g8", "fp8"):
        first, second = Scheme.parse(text).quantize(weight), Scheme.parse(text).quantize(weight.float())
        assert all(torch.equal(first.tensors[name], t) for name, t in second.tensors.items())


def test_the_weight_is_left_alone_and_needs_no_gradient() -> None:
    weight = torch.nn.Parameter(randn(8, 32))
    before = weight.detach().clone()
    for text in ("rtn:uint4g8", "rtn:int8t/f32", "nf4", "fp8/f32"):
        tensor = Scheme.parse(text).quantize(weight)
        assert torch.equal(weight, before)
        assert not any(t.requires_grad for t in tensor.tensors.values())
        assert not tensor.dequantize().requires_grad


@pytest.mark.parametrize(("kind", "z"), [e for e in ENCODINGS if e[0] != "int1"])  # which has no zero
def test_zeros_stay_zeros(kind: str, z: str) -> None:
    """All of a weight, and a few groups of it."""
    weight = randn(8, 16)
    weight[:4] = 0
    for grain in GRAINS:
        scheme = Scheme.parse(f"{kind}{grain}{z}/f32")
        assert scheme.quantize(torch.zeros(8, 16)).dequantize().abs().max() == 0, grain
        if grain != "t":
            assert scheme.quantize(weight).dequantize()[:4].abs().max() == 0, grain


@pytest.mark.parametrize("text", ["uint4g8", "uint4g8z", "uint1g8", "uint8g8/f32", "nf4g8", "fp4g8", "fp8g8"])
@pytest.mark.parametrize("value", [0.37, -0.37, 1000.0])
def test_a_constant_group_is_met_as_well_as_its_scale_can_be_stored(text: str, value: float) -> None:
    made = Scheme.parse(text).quantize(torch.full((2, 16), value)).dequantize()
    assert torch.allclose(made, torch.full((2, 16), value), rtol=2**-10)


def test_a_scale_too_small_for_f16_is_stored_with_an_exponent() -> None:
    weight = randn(4, 16) * 1e-9
    for text in ("int8", "uint4", "nf4"):
        tensor = Scheme.parse(text).quantize(weight)
        assert tensor.format.exponent < 0
        for made in (tensor, Scheme.parse(text + "/f32").quantize(weight)):
            assert (made.dequantize() - weight).norm() < 0.2 * weight.norm()


@pytest.mark.parametrize("text", ["rtn:int8", "rtn:uint4g8", "nf4t", "fp8"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_counted(text: str, value: float) -> None:
    weight = randn(16, 80)
    weight[3, 5] = weight[7, 7] = value
    with pytest.raises(
        FewbitsError, match="2 of its 1,280 weights are NaN or infinite: mend the checkpoint, or --skip this layer"
    ):
        Scheme.parse(text).quantize(weight)


def test_large_finite_weights_pass_the_check() -> None:
    base.check_finite(torch.full((4, 4), 6e4, dtype=torch.float16))
    base.check_finite(torch.full((4, 4), 3e38))
    base.check_finite(torch.full((4, 4), -3e38))


def test_a_misfit_is_refused() -> None:
    with pytest.raises(MisfitError, match=re.escape("groups of 64 do not divide its 96 inputs: groups of 32, 16, 8, 4 do")):
        Scheme.parse("uint4g64").quantize(randn(8, 96))


@pytest.mark.parametrize("text", ["int8", "uint4t", "nf4g8"])
@pytest.mark.parametrize("shape", [(0, 8), (8, 0)])
def test_an_empty_weight_is_refused(text: str, shape: tuple[int, int]) -> None:
    with pytest.raises(FewbitsError):
        Scheme.parse(text).quantize(torch.empty(shape))


def test_groups_come_in_the_order_of_the_scales() -> None:
    matrix = torch.arange(24.0).view(4, 6)
    assert base.to_groups(matrix, 1, 3)[:3].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert base.to_groups(matrix, 2, 1)[:2].tolist() == [[0, 6], [1, 7]]
    assert base.to_groups(matrix, 4, 6).tolist() == [matrix.view(-1).tolist()]
    joined = base.join([Fit(scale=torch.tensor([1.0, 2.0])), Fit(scale=torch.tensor([3.0]))])
    assert (joined.scale.tolist(), joined.zero) == ([1, 2, 3], None)
    both = base.join([Fit(scale=torch.ones(1), zero=torch.zeros(1)), Fit(scale=torch.ones(2), zero=torch.ones(2))])
    assert both.zero.tolist() == [0, 1, 1]


def test_every_method_has_settings_that_cannot_be_changed() -> None:
    for name in methods.names():
        with pytest.raises(AttributeError):
            methods.get(name).p = 3  # pyright: ignore[reportAttributeAccessIssue]
