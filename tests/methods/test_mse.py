"""mse against what it promises: no group's squared error rises, whatever the weights; and against brute force."""

import pytest
import torch
from torch import Tensor

from fewbits import methods
from fewbits.codebooks import codebook
from fewbits.errors import FewbitsError
from fewbits.scheme import Scheme
from tests.methods.groups import HARD, errors, randn, worst_rise
from tests.strategies import ENCODINGS

KINDS = [f"{kind}{z}" for kind, z in ENCODINGS]
GRAINS = ("t", "", "g1", "g8", "g64", "g8o")
METAS = ("", "/f32", "/bf16")


def format_of(kind: str, grain: str, meta: str = "") -> str:
    return f"{kind.rstrip('z')}{grain}{'z' * kind.endswith('z')}{meta}"


def start_of(text: str) -> str:
    """The method that the search begins with."""
    kind = text.rstrip("0123456789tzgo/") if "/" not in text else text.split("/")[0].rstrip("0123456789tzgo")
    return f"{methods.default_for(kind)}:{text}"


@pytest.mark.parametrize("weight", HARD)
@pytest.mark.parametrize("place", range(4))
def test_the_squared_error_of_no_group_rises(weight: str, place: int) -> None:
    """A quarter of the kinds each; 6 granularities and 3 types of scales take turns."""
    values = HARD[weight]
    noise = float(values.abs().max()) * 2**-22
    for turn, kind in enumerate(KINDS[place::4]):
        text = format_of(kind, GRAINS[(turn + place) % 6], METAS[(turn + place) % 3])
        ours, start = errors(values, f"mse:{text}"), errors(values, start_of(text))
        assert worst_rise(ours, start, 2, noise) <= 1.001, text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grain", ["t", "", "g64", "g64o"])
def test_less_error_than_where_it_began(kind: str, grain: str) -> None:
    text, weight = format_of(kind, grain), randn(128, 128)
    most = 1.0 if grain == "t" and kind.strip("uintzfp") in ("7", "8") else 0.99
    assert errors(weight, f"mse:{text}").norm() <= most * errors(weight, start_of(text)).norm()


@pytest.mark.parametrize("kind", ["uint4", "uint3", "uint2", "uint1", "uint4z", "int4", "int2"])
def test_less_squared_error_than_hqq(kind: str) -> None:
    weight, text = randn(64, 256), format_of(kind, "g64")
    assert errors(weight, f"mse:{text}").norm() < errors(weight, f"hqq:{text}").norm()


def brute_force(groups: Tensor, values: Tensor) -> Tensor:
    """Least squared error of each group over 1,200 scales, the values of the codes given."""
    spans = groups.abs().amax(dim=1, keepdim=True) / values.abs().max()
    best = torch.full_like(spans[:, 0], torch.inf)
    for part in torch.linspace(0.2, 1.6, 1200):
        off = (groups / (spans * part)).unsqueeze(2) - values
        best = torch.minimum(best, (off.abs().amin(dim=2) * spans * part).square().sum(dim=1))
    return best


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("int4", torch.arange(-8.0, 8.0)),
        ("int2", torch.arange(-2.0, 2.0)),
        ("int1", torch.tensor([-0.5, 0.5])),
        ("nf4", codebook("nf", 4)),
        ("nf2", codebook("nf", 2)),
        ("fp4", codebook("fp", 4)),
    ],
)
def test_all_scales_tried_find_little_more(kind: str, values: Tensor) -> None:
    """At most 4 % in the sum over 48 groups of 32."""
    weight = randn(12, 128)
    least = brute_force(weight.view(-1, 32), values)
    found = errors(weight, f"mse:{kind}g32/f32").square().sum(dim=1)
    assert (found >= least * 0.999).all()
    assert found.sum() <= 1.04 * least.sum()


def test_one_bit_finds_two_means() -> None:
    """Two free levels for a group: the best split of the sorted weights, each side at its mean; found within 2 %."""
    weight = randn(8, 128)
    groups = weight.view(-1, 32).double().sort(dim=1).values
    splits = [sum(((s - s.mean(1, keepdim=True)) ** 2).sum(1) for s in groups.split([k, 32 - k], 1)) for k in range(1, 32)]
    least = torch.stack([torch.as_tensor(s) for s in splits]).amin(dim=0)
    found = errors(weight, "mse:uint1g32/f32").square().sum(dim=1)
    assert (found >= least * 0.999).all()
    assert found.sum() <= 1.02 * least.sum()


def test_a_whole_tensor_is_clipped_as_the_normal_distribution_wants_it() -> None:
    """Uniform steps for a normal variable: 0.01154 of its variance at 4 bits (Max 1960, table II), 0.03744 at 3 bits."""
    weight = randn(512, 1024)
    for bits, theirs in ((4, 0.01154), (3, 0.03744)):
        lost = float(errors(weight, f"mse:uint{bits}t").square().mean())
        assert theirs * 0.98 < lost < theirs * 1.06


def test_scale_overflow_is_refused() -> None:
    for kind in ("uint4", "int4", "nf4", "fp8"):
        with pytest.raises(FewbitsError, match="overflows /f16"):
            Scheme.parse(f"mse:{kind}").quantize(randn(4, 16) * 1e9)
