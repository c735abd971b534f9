"""Activations for which 8 bits are too few: outliers beside small ones that matter, and the ends of what f32 holds."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from fewbits.layers import QuantizedLinear
from fewbits.runtime import cpu
from fewbits.scheme import Scheme

pytestmark = pytest.mark.skipif(not cpu.available(), reason=str(cpu.why_not()))

LEVELS: tuple[cpu.library.Level, ...] = ("avx2", "avxvnni", "avx512", "amx")
SCHEMES = ("int8", "uint4g64", "nf4g64", "uint3g32", "uint4g8", "uint4g64z/q8", "int4t")
CHANNELS = [5, 100, 301]


@pytest.fixture(autouse=True, params=LEVELS)
def _on_every_level(request: pytest.FixtureRequest) -> Iterator[None]:
    torch.manual_seed(0)
    cpu.set_level(request.param)
    with torch.no_grad():
        yield
    cpu.set_level(None)


def layer_of(scheme: str, *, small: float = 1) -> QuantizedLinear:
    """A layer with a few columns whose weights are small, as behind a norm that makes these channels large."""
    linear = nn.Linear(320, 53)
    linear.weight[:, CHANNELS] /= small
    return QuantizedLinear.from_float(linear, Scheme.parse(scheme))


def plain(layer: QuantizedLinear, x: Tensor) -> Tensor:
    with cpu.enabled(False):
        return layer(x)


def error(layer: QuantizedLinear, x: Tensor) -> float:
    want = plain(layer, x)
    return float((layer(x) - want).norm() / want.norm())


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_outliers_are_multiplied_exactly(scheme: str, rows: int) -> None:
    layer = layer_of(scheme, small=100)
    x = torch.randn(rows, 320)
    x[:, CHANNELS] = 100 * x[:, CHANNELS].sign() * (1 + x[:, CHANNELS].abs())
    assert error(layer, x) < 3e-5


def test_only_the_rows_that_need_it() -> None:
    layer = layer_of("uint4g64", small=100)
    x = torch.randn(20, 320)
    x[7, CHANNELS], x[13, CHANNELS] = 300.0, -300.0
    y = layer(x)
    for row in (6, 7, 13):
        torch.testing.assert_close(y[row], layer(x[row : row + 1])[0], rtol=1e-3, atol=1e-3)
    want = plain(layer, x)
    off = (y - want).norm(dim=1) / want.norm(dim=1)
    assert off[[7, 13]].max() < 3e-5 and off[[0, 6, 8, 12, 19]].min() > 1e-4


def test_outliers_with_weights_like_the_others_are_rounded_as_ever() -> None:
    layer = layer_of("uint4g64")
    x = torch.randn(9, 320)
    x[:, CHANNELS] *= 100
    rounded = layer(x)
    with cpu.exact_activations():
        exact = layer(x)
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0.3)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("rows", [1, 5, 33])
@pytest.mark.parametrize("exact", [False, True])
def test_the_ends_of_the_range(scheme: str, rows: int, exact: bool) -> None:
    """Where the plain path is finite, or says which infinity, the kernels do too."""
    layer = layer_of(scheme)
    layer.bias = None
    for size in (1e38, 1e30, 1e16, 1e-16, 1e-30, 1e-37):
        x = torch.randn(rows, 320).clamp(-1, 1) * size
        want = plain(layer, x)
        with cpu.exact_activations(exact):
            got = layer(x)
        assert torch.equal(got.isfinite(), want.isfinite()) and torch.equal(got.isnan(), want.isnan()), size
        fine = want.isfinite()
        assert (got - want)[fine].abs().max() <= want[fine].abs().max() * 2e-2, size


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan"), 1e38, -3e38])
@pytest.mark.parametrize("rows", [1, 5, 33])
@pytest.mark.parametrize("exact", [False, True])
def test_one_extreme_among_ordinary_ones(value: float, rows: int, exact: bool) -> None:
    layer = layer_of("uint4g64")
    x = torch.randn(rows, 320)
    x[0, 9] = value
    with cpu.exact_activations(exact):
        got = layer(x)
    torch.testing.assert_close(got[0], plain(layer, x)[0], rtol=1e-4, atol=0, equal_nan=True)
    assert got[1:].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    layer = layer_of("uint4g64", small=100).to(dtype)
    x = torch.randn(3, 320)
    x[:, CHANNELS] = 200.0
    x = x.to(dtype)
    with cpu.exact_activations():
        want = layer(x)
    torch.testing.assert_close(layer(x), want, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("rows", [1, 6])
def test_answers_do_not_depend_on_addresses(rows: int) -> None:
    layer = layer_of("uint4g64")
    x = torch.randn(rows, 320)
    want = layer(x)
    for offset in (1, 3, 7):
        moved = torch.empty(x.numel() + offset)[offset:].view_as(x).copy_(x)
        assert torch.equal(layer(moved), want)
