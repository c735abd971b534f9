"""The CPU kernels against the reference, within the bound that follows from how they round."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fewbits.layers import QuantizedLinear
from fewbits.runtime import cpu
from fewbits.runtime.cpu.pack import CHUNK, Pack
from fewbits.scheme import Scheme

pytestmark = pytest.mark.skipif(not cpu.available(), reason=str(cpu.why_not()))

WIDTHS = [f"uint{b}g64" for b in range(1, 9)] + [f"int{b}" for b in range(1, 9)]
BOOKS = ["nf4g64", "nf3g32", "nf2", "fp4g64"]
METAS = ["uint4g64/f32", "uint4g64/bf16", "uint4g64/q8", "nf4g64/q8", "uint4g32z", "uint3t", "int4t"]
EPS = 2.0**-24  # half a unit in the last place of f32
STORED = {torch.float32: EPS, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}  # relative rounding of an answer


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.no_grad():
        yield
    cpu.set_level(None)


def make(scheme: str, rows: int, cols: int, *, bias: bool = True, dtype: torch.dtype = torch.float32) -> QuantizedLinear:
    layer = QuantizedLinear.from_float(torch.nn.Linear(cols, rows, bias=bias), Scheme.parse(scheme))
    return layer.to(dtype)


def steps_of(x: Tensor, pack: Pack) -> Tensor:
    """Half of what an input's value may be off: its block's largest / 127, for every input."""
    block = pack.weight.block
    blocks = F.pad(x.double(), (0, pack.weight.padded - pack.cols)).unflatten(-1, (-1, block))
    steps = blocks.abs().amax(-1, keepdim=True) / 127
    return steps.expand_as(blocks).flatten(-2)[..., : pack.cols]


def check(layer: QuantizedLinear, x: Tensor, *, exact: bool = False) -> Tensor:
    """Compare with the reference in f64. Returns error / its standard deviation in theory, for outputs of f32."""
    pack = cpu.packed(layer)
    assert pack is not None
    with cpu.exact_activations(exact):
        y = cpu.linear(layer, x)
    assert y is not None and y.dtype == x.dtype and y.shape == (*x.shape[:-1], layer.out_features)
    exact = exact or in_float(pack, x)
    weight, wide = layer.dequantize().double(), x.double()
    if pack.format.is_codebook and cpu.level() == "avx2" and not exact:
        weight = of_bytes(layer, pack)
    bias = 0 if layer.bias is None else layer.bias.double()
    reference = wide @ weight.T + bias
    steps = torch.zeros_like(wide) if exact else steps_of(x, pack)
    bound = steps / 2 * (1 + 1e-5) @ weight.abs().T
    bound += float_rounding(layer, pack, wide.abs() + steps)
    bound += (reference.abs() + bound) * STORED[x.dtype] + 2.0**-24  # fp16 has nothing finer
    error = (y.double() - reference).abs()
    assert torch.all(error <= bound), f"{(error / bound).max():.3f} of the bound"
    return (y.double() - reference) / (steps.square() / 12 @ weight.T.square()).sqrt().clamp(min=1e-30)


def in_float(pack: Pack, x: Tensor) -> bool:
    """With AVX2, more than four rows and groups below a chunk are multiplied in float: that is faster."""
    return cpu.level() in ("avx2", "avxvnni") and pack.weight.group < CHUNK and x.numel() > 4 * pack.cols


def of_bytes(layer: QuantizedLinear, pack: Pack) -> Tensor:
    """A codebook's weight as AVX2 multiplies by it: each value is a whole number of steps."""
    tensor = layer.quantized
    r, c = tensor.format.block(pack.rows, pack.cols)
    values = torch.tensor(list(pack.weight.byte), dtype=torch.float64).sub_(128) * pack.weight.byte_step
    scale = tensor.scale().double().repeat_interleave(r, 0).repeat_interleave(c, 1)
    return values[tensor.codes().long()] * scale


def float_rounding(layer: QuantizedLinear, pack: Pack, x: Tensor) -> Tensor:
    """(n + 4) eps times the sum of the magnitudes of all terms, n of them one after another: blocks, groups, bias.

    A codebook's values, at most 1 of its peak, are held in 15 bits: 1 / 32766 of the peak off.
    """
    tensor = layer.quantized
    rows, cols = pack.rows, pack.cols
    r, c = tensor.format.block(rows, cols)
    scale = tensor.scale().double().repeat_interleave(r, 0).repeat_interleave(c, 1)
    zero = tensor.zero()
    codes = torch.full_like(scale, 2.0**tensor.format.bits) if zero is None else tensor.codes().double()
    offset = zero.double().abs().repeat_interleave(r, 0).repeat_interleave(c, 1) if zero is not None else 2.0
    terms = cols + 8
    out = terms * EPS * (x @ (scale * (codes + offset)).T)
    out += 0 if layer.bias is None else terms * EPS * layer.bias.double().abs()
    return out + (x @ scale.T / 32766 * pack.weight.peak if zero is None else 0)


@pytest.mark.parametrize("scheme", WIDTHS + BOOKS + METAS)
def test_every_width_on_every_level(scheme: str) -> None:
    layer = make(scheme, 37, 192)
    for level in ("avx2", "avxvnni", "avx512", "amx"):
        cpu.set_level(level)
        for rows in (1, 2, 7, 16, 45):
            check(layer, torch.randn(rows, 192))
        for rows in (1, 5, 71):
            check(layer, torch.randn(rows, 192), exact=True)


SMALL = [f"{kind}g{group}" for kind in ("uint4", "int8", "uint3", "nf4", "fp4") for group in (4, 8, 16)]


@pytest.mark.parametrize("scheme", [*SMALL, "uint2g8z", "uint4g8/q8", "int3g16/bf16"])
def test_groups_within_a_chunk(scheme: str) -> None:
    for rows, cols in ((37, 192), (5, 32)):
        layer = make(scheme, rows, cols)
        for level in ("avx2", "avxvnni", "avx512", "amx"):
            cpu.set_level(level)
            for batch in (1, 2, 3, 4, 7, 16, 45):
                check(layer, torch.randn(batch, cols))
            for batch in (1, 5, 71):
                check(layer, torch.randn(batch, cols), exact=True)


@pytest.mark.parametrize(
    "scheme", ["uint4g64", "uint4g32", "int4", "uint2t", "nf4g64", "nf4", "uint6g32", "int8", "uint4g8", "nf4g16"]
)
@pytest.mark.parametrize("level", ["avx2", "avxvnni", "avx512", "amx"])
def test_more_rows_and_inputs_than_a_panel_has(scheme: str, level: cpu.library.Level) -> None:
    """Of 512 inputs (256 in float) and 60 rows."""
    layer = make(scheme, 23, 1088)
    cpu.set_level(level)
    for rows in (5, 60, 127):
        check(layer, torch.randn(rows, 1088))
    check(layer, torch.randn(127, 1088), exact=True)


def test_small_groups_without_a_kernel() -> None:
    for scheme, cols in (("uint4g8", 48), ("uint5g8", 64), ("nf3g16", 64), ("uint4g2", 64)):
        assert cpu.packed(make(scheme, 8, cols)) is None


@pytest.mark.parametrize("scheme", ["uint4g64", "int8", "uint3g32", "nf4g64", "uint4g8"])
def test_error_is_as_large_as_rounding_makes_it(scheme: str) -> None:
    """Rounding errors are uniform: standard deviation step / sqrt(12). A bound alone would allow 25 times as much."""
    layer = make(scheme, 64, 1024)
    error = torch.cat([check(layer, x) for x in torch.randn(64, 1024).split(4 if scheme == "uint4g8" else 64)])
    assert error.square().mean().sqrt().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("scheme", [*WIDTHS, "uint4g32z"])
@pytest.mark.parametrize("level", ["avx2", "avxvnni", "avx512", "amx"])
def test_activations_on_the_grid_are_exact(scheme: str, level: cpu.library.Level) -> None:
    """Whole numbers up to 127, with 127 in every block: the step is 1, and nothing is rounded but floats."""
    cpu.set_level(level)
    layer = make(scheme, 40, 128)
    for rows in (1, 4, 19):
        x = torch.randint(-127, 128, (rows, 128)).float()
        x[:, ::32] = 127
        y = cpu.linear(layer, x)
        assert y is not None
        reference = x.double() @ layer.dequantize().double().T + layer.bias.double()  # type: ignore[union-attr]
        pack = cpu.packed(layer)
        assert pack is not None
        assert torch.all((y - reference).abs() <= float_rounding(layer, pack, x.double().abs()) + reference.abs() * EPS)


@settings(max_examples=30)
@given(
    st.integers(1, 70), st.integers(1, 150), st.integers(1, 20), st.sampled_from(["uint4", "int8", "uint3", "nf4", "uint5t"])
)
def test_odd_shapes(rows: int, cols: int, batch: int, scheme: str) -> None:
    check(make(scheme, rows, cols), torch.randn(batch, cols))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_dtypes(dtype: torch.dtype, bias: bool) -> None:
    layer = make("uint4g64", 50, 128, bias=bias, dtype=dtype)
    for batch in (1, 3, 16):
        check(layer, torch.randn(batch, 128, dtype=dtype))
        check(layer, torch.randn(batch, 128, dtype=dtype), exact=True)


@pytest.mark.parametrize("threads", range(1, 9))
def test_threads_change_nothing(threads: int) -> None:
    layer = make("uint4g64", 1000, 512)
    before = torch.get_num_threads()
    try:
        for batch in (1, 20):
            x = torch.randn(batch, 512)
            torch.set_num_threads(1)
            alone = cpu.linear(layer, x)
            torch.set_num_threads(threads)
            together = cpu.linear(layer, x)
            assert alone is not None and together is not None and torch.equal(alone, together)
    finally:
        torch.set_num_threads(before)


def test_inputs_that_are_not_contiguous() -> None:
    layer = make("uint4g64", 48, 128)
    check(layer, torch.randn(128, 6).T)
    check(layer, torch.randn(6, 256)[:, ::2])
    check(layer, torch.randn(6, 300)[:, 7:135])
    check(layer, torch.randn(2, 3, 5, 128).transpose(0, 2))
    check(layer, torch.randn(128))
    assert cpu.linear(layer, torch.randn(0, 128)).shape == (0, 48)  # type: ignore[union-attr]


def test_zeros_and_numbers_that_are_none() -> None:
    layer = make("uint4g64", 48, 128)
    zero = cpu.linear(layer, torch.zeros(2, 128))
    assert zero is not None and layer.bias is not None and torch.equal(zero, layer.bias.expand(2, 48))
    for bad in (float("nan"), float("inf"), -float("inf")):
        for place in (0, 31, 127):
            x = torch.randn(3, 128)
            x[1, place] = bad
            y = cpu.linear(layer, x)
            assert y is not None and not y[1].isfinite().any() and y[[0, 2]].isfinite().all()


def test_a8_rounds_as_the_layer_does() -> None:
    """Its inputs were rounded by the row already; the same step leaves them as they are."""
    layer = make("int8a8", 40, 192)
    x = torch.randn(5, 192)
    reference = layer(x)
    with cpu.enabled():
        y = layer(x)
    torch.testing.assert_close(y, reference, rtol=1e-5, atol=1e-5)


def test_what_has_no_kernel_is_left_to_the_reference() -> None:
    x = torch.randn(2, 128)
    for scheme in ("uint5g16", "fp8", "uint4g8o"):
        assert cpu.linear(make(scheme, 32, 128), x) is None
    layer = make("uint4g64", 32, 128)
    assert cpu.linear(layer, x.double()) is None
    assert cpu.linear(layer, x.half()) is None  # its bias is f32
    with torch.enable_grad():
        assert cpu.linear(layer, x.clone().requires_grad_()) is None
    with pytest.raises(RuntimeError, match="shapes"), cpu.enabled():
        layer(torch.randn(2, 64))
