"""Weights with tiny scales through the CPU kernels: the same relative error as without an exponent."""

import pytest
import torch
from torch import nn

from fewbits.layers import QuantizedEmbedding, QuantizedLinear
from fewbits.runtime.cpu import exact_activations, library
from fewbits.runtime.cpu.linear import packed
from fewbits.runtime.weight import repack
from fewbits.scheme import Scheme

SCHEMES = [
    *(f"rtn:uint{bits}g32" for bits in range(1, 9)),
    *(
        "hqq:uint3",
        "rtn:int8",
        "rtn:int1",
        "nf4g64",
        "fp4",
        "nf2g8",
        "rtn:uint4g64z",
        "rtn:uint4g8",
        "rtn:int4a8",
        "rtn:uint4t",
    ),
]


def pair(text: str, size: float) -> tuple[nn.Linear, QuantizedLinear]:
    torch.manual_seed(0)
    original = nn.Linear(128, 40, bias=False)
    original.weight.data.mul_(size)
    made = QuantizedLinear.from_float(original, Scheme.parse(text))
    assert isinstance(made, QuantizedLinear)
    return original, made


@pytest.mark.skipif(not library.available(), reason=f"no kernels here: {library.why_not()}")
@pytest.mark.parametrize("text", SCHEMES)
@torch.no_grad()
def test_products_and_rows(text: str) -> None:
    for size in (1e-7, 1e-20):
        _, layer = pair(text, size)
        assert layer.scheme.format.exponent < 0
        weight = layer.dequantize().double()
        if packed(layer) is not None:
            for rows in (1, 4, 33):
                x = torch.randn(rows, 128)
                expected = x.double() @ weight.T
                assert (layer(x) - expected).norm() <= 0.02 * expected.norm()
                with exact_activations():
                    assert (layer(x) - expected).norm() <= (0.02 if "a8" in text else 1e-5) * expected.norm()


@torch.no_grad()
def test_rows_of_an_embedding() -> None:
    for text in ("rtn:uint4g32", "nf4", "rtn:int8", "rtn:uint3g8o"):
        torch.manual_seed(0)
        original = nn.Embedding(40, 128)
        original.weight.data.mul_(1e-9)
        layer = QuantizedEmbedding.from_float(original, Scheme.parse(text))
        assert layer.scheme.format.exponent < 0
        ids = torch.tensor([[0, 39], [7, 7]])
        assert torch.equal(layer(ids), layer.dequantize()[ids])


def test_gpu_kernels_take_no_scale_or_zero_point_that_f16_would_change() -> None:
    for text, size in (("rtn:uint4g64", 1e-7), ("rtn:uint4g64/f32", 1e-7), ("rtn:int8/bf16", 1e-9), ("nf4g64/f32", 1e-7)):
        assert repack(pair(text, size)[1].quantized) is None
        assert repack(pair(text, 1.0)[1].quantized) is not None
    shifted, _ = pair("rtn:uint4g64/f32", 1.0)
    shifted.weight.data.add_(300)
    assert repack(Scheme.parse("rtn:uint4g64/f32").quantize(shifted.weight)) is None
