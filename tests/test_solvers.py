"""The compiled solvers against the same by PyTorch's operators."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewbits import methods, packing, solvers
from fewbits.runtime.cpu import library
from fewbits.scheme import Scheme
from fewbits.tensor import QuantizedTensor

pytestmark = pytest.mark.skipif(not library.available(), reason=f"no compiled solvers here: {library.why_not()}")

SEARCHED = [
    *(
        "hqq:uint4g64",
        "hqq:uint3g64",
        "hqq:uint2g64",
        "hqq:uint1g8",
        "hqq:int4g64",
        "hqq:uint4g32z",
        "hqq:uint8",
        "hqq:int3/bf16",
    ),
    *("mse:uint4g64", "mse:uint4g16o", "mse:nf4g64", "mse:fp4g64", "mse:nf3/f32", "mse:int2g8"),
]
ROUNDED = [
    *(
        "uint4g64",
        "uint3g8",
        "int4g64",
        "int8",
        "int1g64",
        "uint4g32z",
        "uint1g8z",
        "uint5",
        "uint2t",
        "uint4g16o",
        "uint7/bf16",
    ),
    *("nf4g64", "fp4g64", "nf2", "nf3g8", "fp8"),
]


@contextmanager
def without_solvers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solvers, "available", lambda device: False)
        yield


def quantized(scheme: str, weight: torch.Tensor) -> QuantizedTensor:
    parsed = Scheme.parse(scheme)
    return methods.get(parsed.method).quantize(weight, parsed.format)


def weight(rows: int = 130, cols: int = 320, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Rows of several widths, with outliers, a group of zeros and a group of one value."""
    torch.manual_seed(rows + cols)
    out = torch.randn(rows, cols) * (torch.rand(rows, 1) + 0.1) * 0.05
    out[torch.rand_like(out) > 0.998] *= 8
    out[0, :64], out[1, :64] = 0, 0.25
    return out.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scheme", ROUNDED)
def test_rounding_gives_the_same_codes(scheme: str, dtype: torch.dtype) -> None:
    rows = weight(144, 320, dtype)  # in bf16 many weights lie half way between two codes
    with without_solvers():
        expected = quantized(scheme, rows)
    assert all(torch.equal(t, expected.tensors[name]) for name, t in quantized(scheme, rows).tensors.items())


@pytest.mark.parametrize("scheme", SEARCHED)
def test_searching_finds_grids_as_good(scheme: str) -> None:
    rows = weight(144, 320)
    with without_solvers():
        expected = quantized(scheme, rows)
    found = quantized(scheme, rows)
    scale, other = found.scale(), expected.scale()
    assert torch.isclose(scale, other, rtol=1e-6).float().mean() > 0.99  # where two are as good, the last bits decide
    error, before = ((q.dequantize() - rows).square().mean() for q in (found, expected))
    assert abs(error / before - 1) < 1e-3


@pytest.mark.parametrize("cols", [1, 3, 7, 9, 17, 40])
def test_groups_of_any_size(cols: int) -> None:
    for scheme in ("rtn:uint4", "hqq:uint4", "mse:nf4"):
        with without_solvers():
            expected = quantized(scheme, weight(37, cols)).dequantize()
        assert torch.allclose(quantized(scheme, weight(37, cols)).dequantize(), expected, atol=2e-3)


@pytest.mark.parametrize("scheme", ["hqq:uint3g64", "hqq:uint4g32z", "mse:nf4g64", "rtn:uint5"])
def test_every_set_of_instructions_finds_the_same(scheme: str) -> None:
    best = library.level()
    found = quantized(scheme, weight())
    try:
        library.set_level("avx2")
        same = quantized(scheme, weight())
    finally:
        library.set_level(None)
    assert library.level() == best
    assert all(torch.equal(t, same.tensors[name]) for name, t in found.tensors.items())


@pytest.mark.parametrize("scheme", ["hqq:uint4g64", "mse:nf4g64"])
def test_the_number_of_threads_changes_nothing(scheme: str) -> None:
    large = weight(1024, 512)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = quantized(scheme, large)
        torch.set_num_threads(3)
        together = quantized(scheme, large)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(t, together.tensors[name]) for name, t in alone.tensors.items())


@given(bits=st.integers(1, 8), count=st.integers(0, 70), seed=st.integers(0, 9))
def test_packing_gives_the_same_bytes(bits: int, count: int, seed: int) -> None:
    codes = torch.randint(2**bits, (count,), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    with without_solvers():
        expected = packing.pack(codes, bits)
    assert torch.equal(packing.pack(codes, bits), expected)
    assert torch.equal(packing.unpack(expected, bits, count), codes)
