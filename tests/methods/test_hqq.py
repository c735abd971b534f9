"""hqq against what it promises: the norm of no group rises, from 5 bits on its squares; whatever the weights. And it is worth its time."""

from dataclasses import replace

import pytest
import torch

from fewbits.errors import FewbitsError
from fewbits.formats import Format
from fewbits.methods.hqq import HalfQuadratic
from fewbits.scheme import Scheme
from tests.methods.groups import HARD, errors, in_groups, randn, worst_rise

BITS = range(1, 9)
KINDS = [*(f"uint{b}" for b in BITS), *(f"uint{b}z" for b in BITS), *(f"int{b}" for b in BITS)]
GRAINS = ("t", "", "g1", "g8", "g64", "g8o")
METAS = ("", "/f32", "/bf16")


def format_of(kind: str, grain: str, meta: str) -> str:
    return f"{kind.rstrip('z')}{grain}{'z' * kind.endswith('z')}{meta}"


@pytest.mark.parametrize("weight", HARD)
@pytest.mark.parametrize("place", range(4))
def test_the_norm_of_no_group_rises(weight: str, place: int) -> None:
    """A quarter of the kinds each, from 5 bits on the squares; 6 granularities and 3 types of scales take turns."""
    values = HARD[weight]
    noise = float(values.abs().max()) * 2**-22
    for turn, kind in enumerate(KINDS[place::4]):
        text = format_of(kind, GRAINS[(turn + place) % 6], METAS[(turn + place) % 3])
        ours, start = errors(values, f"hqq:{text}"), errors(values, f"rtn:{text}")
        assert worst_rise(ours, start, 0.7 if int(kind.strip("uintz")) < 5 else 2.0, noise) <= 1.001, text


@pytest.mark.parametrize("p", [0.3, 0.5, 0.9])
def test_the_norm_is_the_one_of_the_setting(p: float) -> None:
    weight, format = HARD["heavy tails"], Format.parse("uint3g16")
    made = HalfQuadratic(p=p).quantize(weight, format).dequantize()
    assert worst_rise(in_groups((made - weight).double(), format), errors(weight, "rtn:uint3g16"), p, 0) <= 1.00001


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, -0.7])
def test_p_lies_between_0_and_1(p: float) -> None:
    with pytest.raises(FewbitsError, match=r"p of hqq's norm lies between 0 and 1, such as 0\.7"):
        HalfQuadratic(p=p)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grain", ["t", "", "g64", "g16", "g64o"])
def test_both_the_norm_and_the_squares_fall(kind: str, grain: str) -> None:
    """On a normal weight; 8 bits for all of it leave nothing to gain."""
    weight, text = randn(128, 128), format_of(kind, grain, "")
    ours, start = errors(weight, f"hqq:{text}"), errors(weight, f"rtn:{text}")
    at_most = {1: 0.95, 2: 0.93, 3: 0.98}.get(int(kind.strip("uintz")), 1.0 if grain == "t" else 0.995)
    assert ours.norm() <= at_most * start.norm()
    assert ours.abs().pow(0.7).sum() <= start.abs().pow(0.7).sum()


def test_the_magnitude_of_the_weights_does_not_matter() -> None:
    """Down to the last code, for a power of two; a library whose threshold is in weights depends on it."""
    weight = randn(16, 128) / 7
    for text in ("hqq:uint4g64/f32", "hqq:uint2g32/f32", "hqq:int3g64/f32", "hqq:uint3g64z/f32", "hqq:uint3t/f32"):
        plain = Scheme.parse(text).quantize(weight)
        for power in (-40, -10, 3, 60):
            scaled = Scheme.parse(text).quantize(weight * 2.0**power)
            assert torch.equal(scaled.codes(), plain.codes()), (text, power)
            assert torch.equal(scaled.scale(), plain.scale() * 2.0**power), (text, power)


def test_the_large_weights_keep_more_than_least_squares_would_leave_them() -> None:
    """2 bits, groups of 64: a least squares grid is shorter."""
    weight = randn(64, 256)
    large = weight.abs() > 2
    off = {m: (Scheme.parse(f"{m}:uint2g64").quantize(weight).dequantize() - weight)[large].norm() for m in ("hqq", "mse")}
    assert off["hqq"] < 0.97 * off["mse"]


def test_a_grid_that_meets_all_weights_is_kept() -> None:
    """Seven of eight codes in steps of 1/4 from 0: nothing can be gained, and nothing may be lost."""
    weight = torch.tensor([[0, 1, 2, 3, 4, 5, 7, 7]]) / 4
    for text in ("hqq:uint3", "hqq:uint3z"):
        tensor = Scheme.parse(text).quantize(weight)
        assert torch.equal(tensor.dequantize(), weight), text
        assert float(tensor.scale()) == 0.25


def test_no_other_kind_is_made() -> None:
    with pytest.raises(FewbitsError, match="hqq cannot make nf4g64: it makes uint, int"):
        Scheme.parse("hqq:nf4g64").quantize(randn(4, 64))


@pytest.mark.parametrize("text", ["hqq:uint4", "hqq:int4g8", "hqq:uint8z"])
def test_a_scale_that_overflows_is_refused_with_its_size(text: str) -> None:
    with pytest.raises(FewbitsError, match=r"its scale of \d\.\d+e\+\d\d overflows /f16 \(at most 65504\): use /bf16 or /f32"):
        Scheme.parse(text).quantize(randn(4, 16) * 1e9)
    assert torch.isfinite(Scheme.parse(text + "/f32").quantize(randn(4, 16) * 1e9).dequantize()).all()


def test_settings_come_in_by_keyword() -> None:
    assert replace(HalfQuadratic(), p=0.5) == HalfQuadratic(p=0.5)
    with pytest.raises(TypeError):
        HalfQuadratic(0.5)  # pyright: ignore[reportCallIssue]
