"""Codebooks scaled to the largest weight of each group."""

import pytest
import torch

from fewbits.codebooks import codebook
from fewbits.errors import FewbitsError
from fewbits.scheme import Scheme

KINDS = ["nf2", "nf3", "nf4", "fp4", "fp8"]


def randn(seed: int = 0) -> torch.Tensor:
    return torch.randn(16, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("grain", "axes"), [("t", (0, 1)), ("", (1,))])
def test_the_scale_is_the_largest_weight_over_the_largest_value(kind: str, grain: str, axes: tuple[int, ...]) -> None:
    weight = randn()
    most = 448 if kind == "fp8" else 1
    tensor = Scheme.parse(f"{kind}{grain}/f32").quantize(weight)
    assert torch.equal(tensor.scale().view(-1), (weight.abs().amax(dim=axes) / most).view(-1))
    assert torch.allclose(tensor.dequantize().abs().amax(dim=axes), weight.abs().amax(dim=axes), rtol=1e-6)


def test_nf4_by_hand() -> None:
    """Scale 2; -2 is code 0, 0 is code 7, 2 is code 15; 0.17 / 2 is nearest to 0.0796, code 8."""
    tensor = Scheme.parse("nf4/f32").quantize(torch.tensor([[-2.0, 0.0, 2.0, 0.17]]))
    assert (tensor.codes().tolist(), tensor.scale().item()) == ([[0, 7, 15, 8]], 2.0)
    assert tensor.dequantize()[0, 3] == codebook("nf", 4)[8] * 2


def test_fp4_by_hand() -> None:
    """Twelfths of 6: 0, 1/32, 4, 6, 2, 3, 1, 1.5 and their negatives from code 8 on."""
    weight = torch.tensor([[6.0, -4.1, 2.9, 1.4, -1.1, 0.03, 0.0, -2.0]])
    assert Scheme.parse("fp4/f32").quantize(weight).codes().tolist() == [[3, 10, 5, 7, 14, 1, 0, 12]]


def test_fp8_is_torch_s_own_rounding() -> None:
    weight = randn() * 64
    weight[0, 0] = 448  # so that the scale is 1
    tensor = Scheme.parse("fp8t/f32").quantize(weight)
    assert torch.equal(tensor.codes(), weight.to(torch.float8_e4m3fn).view(torch.uint8))
    assert not tensor.dequantize().isnan().any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("meta", ["f32", "f16", "bf16"])
def test_quantizing_again_changes_nothing(kind: str, meta: str) -> None:
    scheme = Scheme.parse(f"{kind}g8/{meta}")
    for seed in range(3):
        first = scheme.quantize(randn(seed))
        second = scheme.quantize(first.dequantize())
        if kind == "fp8" and meta == "f32":  # 448 * (max / 448) is the maximum only to the last bit
            assert torch.allclose(second.dequantize(), first.dequantize(), rtol=1e-6)
        else:
            assert torch.equal(second.dequantize(), first.dequantize())


@pytest.mark.parametrize("kind", KINDS)
def test_the_sign_is_the_sign(kind: str) -> None:
    weight = randn()
    made = Scheme.parse(f"{kind}g16").quantize(weight).dequantize()
    assert (made * weight >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_scale_whose_inverse_overflows_does_no_harm(kind: str) -> None:
    weight = randn() * 1e-40
    weight[:, 3] = 0
    made = Scheme.parse(f"{kind}g8/f32").quantize(weight).dequantize()
    assert made.isfinite().all()
    assert made[:, 3].abs().max() == 0
    assert (made - weight).abs().max() <= weight.abs().max()


@pytest.mark.parametrize("kind", ["uint4", "int8"])
def test_grids_are_refused(kind: str) -> None:
    with pytest.raises(FewbitsError, match=f"absmax cannot make {kind}: it makes nf, fp"):
        Scheme.parse(f"absmax:{kind}").quantize(torch.ones(2, 2))
