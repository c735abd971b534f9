"""Quantized layers against torch's own operators on the dequantized weight: equal, not near.

The CPU kernels, which round activations, are off here; tests/runtime holds them against the layers as they are tested here.
"""

import itertools
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fewbits.activations import round_rows
from fewbits.errors import FewbitsError
from fewbits.layers import (
    QuantizedConv1D,
    QuantizedConv2d,
    QuantizedEmbedding,
    QuantizedLinear,
)
from fewbits.runtime import cpu
from fewbits.scheme import Scheme

SCHEMES = ["rtn:uint4g8", "rtn:int3", "rtn:uint5g16z/f32", "nf4g8/q8", "fp8t/bf16", "rtn:uint2g4o"]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with cpu.enabled(False):
        yield


def seeded(layer: nn.Module) -> nn.Module:
    for index, parameter in enumerate(layer.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(index))
    return layer


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(9))


def linear(scheme: str = "rtn:uint4g8", *, bias: bool = True) -> QuantizedLinear:
    return QuantizedLinear.from_float(seeded(nn.Linear(48, 24, bias=bias)), Scheme.parse(scheme))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("bias", [True, False])
def test_linear(scheme: str, bias: bool) -> None:
    layer = linear(scheme, bias=bias)
    for shape in ((48,), (5, 48), (2, 3, 48), (2, 1, 3, 48), (0, 48), (2, 0, 48)):
        x = randn(*shape)
        expected = F.linear(x, layer.quantized.dequantize(), layer.bias)
        assert torch.equal(layer(x), expected), shape
        assert expected.shape == (*shape[:-1], 24)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_weight_is_near_the_original_and_not_it(scheme: str) -> None:
    original = seeded(nn.Linear(48, 24)).weight
    error = (linear(scheme).dequantize() - original).norm() / original.norm()
    assert 1e-3 < error < 0.5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_linear_in_other_dtypes(scheme: str, dtype: torch.dtype) -> None:
    layer, x = linear(scheme).to(dtype), randn(5, 48).to(dtype)
    assert layer(x).dtype == dtype
    assert torch.equal(layer(x), F.linear(x, layer.quantized.dequantize().to(dtype), layer.bias))
    assert layer.weight.dtype == dtype


def test_inputs_need_not_be_contiguous() -> None:
    layer, x = linear(), randn(48, 10)
    assert torch.equal(layer(x.T), layer(x.T.contiguous()))
    wide = randn(5, 96)
    assert torch.equal(layer(wide[:, ::2]), layer(wide[:, ::2].contiguous()))


@pytest.mark.parametrize("scheme", [*SCHEMES, "nf4", "fp4g8"])
def test_conv1d_of_gpt2(scheme: str) -> None:
    from transformers.pytorch_utils import Conv1D

    original = seeded(Conv1D(24, 48))  # 48 inputs, 24 outputs, stored inputs first
    layer, x = QuantizedConv1D.from_float(original, Scheme.parse(scheme)), randn(2, 3, 48)
    assert layer.shape == (24, 48) == (layer.out_features, layer.in_features)
    assert torch.equal(layer(x), F.linear(x, layer.quantized.dequantize(), original.bias))
    other = QuantizedLinear.from_float(seeded(nn.Linear(48, 24)), Scheme.parse(scheme))
    with torch.no_grad():
        same = nn.Linear(48, 24)
        same.weight.copy_(original.weight.T)
    other = QuantizedLinear.from_float(same, Scheme.parse(scheme))
    assert torch.equal(layer.quantized.codes(), other.quantized.codes())


CONVOLUTIONS = {
    "plain": {"padding": 1},
    "pointwise": {"kernel_size": 1},
    "oblong": {"kernel_size": (3, 1), "padding": (1, 0)},
    "grouped": {"groups": 4},
    "depthwise": {"groups": 16},
    "strided": {"stride": (2, 1), "padding": 1},
    "dilated": {"dilation": 2},
    "same": {"padding": "same", "dilation": 2},
    "valid": {"padding": "valid"},
    "circular": {"padding": (1, 2), "padding_mode": "circular"},
    "reflect": {"padding": 1, "padding_mode": "reflect", "stride": 2},
    "replicate": {"padding": (2, 1), "padding_mode": "replicate", "groups": 2},
    "same reflect": {"padding": "same", "padding_mode": "reflect", "dilation": (1, 2)},
    "even same": {"kernel_size": 2, "padding": "same", "padding_mode": "circular"},
    "no bias": {"bias": False},
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("scheme", ["rtn:uint4", "rtn:int8t/f32", "nf3/q8", "rtn:uint3g8oz"])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_conv2d(name: str, scheme: str) -> None:
    original = seeded(nn.Conv2d(16, 16, **({"kernel_size": 3} | CONVOLUTIONS[name])))
    layer, x = QuantizedConv2d.from_float(original, Scheme.parse(scheme)), randn(2, 16, 9, 8)
    with torch.no_grad():
        original.weight.copy_(layer.quantized.dequantize())
    assert torch.equal(layer(x), original(x))
    assert torch.equal(layer(x[0]), original(x[0]))
    assert layer(x[:0]).shape == (0, *original(x).shape[1:])
    if "padding_mode" not in CONVOLUTIONS[name]:
        way = (layer.stride, layer.padding, layer.dilation, layer.groups)
        assert torch.equal(layer(x), F.conv2d(x, layer.quantized.dequantize(), layer.bias, *way))


@pytest.mark.parametrize("dtype", DTYPES)
def test_conv2d_in_other_dtypes_and_channels_last(dtype: torch.dtype) -> None:
    original = seeded(nn.Conv2d(8, 16, 3, padding=1, groups=2))
    layer = QuantizedConv2d.from_float(original, Scheme.parse("rtn:uint4g12")).to(dtype)
    x = randn(2, 8, 6, 6).to(dtype)
    with torch.no_grad():
        original.to(dtype).weight.copy_(layer.quantized.dequantize().to(dtype))
    assert torch.equal(layer(x), original(x))
    assert torch.allclose(layer(x.to(memory_format=torch.channels_last)).float(), original(x).float(), rtol=1e-2, atol=1e-2)


def test_conv2d_has_the_attributes_that_models_read() -> None:
    original = nn.Conv2d(8, 16, (3, 5), stride=2, padding=(1, 2), dilation=1, groups=2)
    layer = QuantizedConv2d.from_float(original, Scheme.parse("rtn:int8"))
    for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"):
        assert getattr(layer, name) == getattr(original, name)
    assert layer.weight.shape == original.weight.shape


@pytest.mark.parametrize("scheme", [*SCHEMES, "nf3", "fp4"])
def test_embedding(scheme: str) -> None:
    layer = QuantizedEmbedding.from_float(seeded(nn.Embedding(20, 48)), Scheme.parse(scheme))
    for ids in ([3], [[0, 19], [7, 7]], [], [[[1]], [[2]]]):
        at = torch.tensor(ids, dtype=torch.long)
        assert torch.equal(layer(at), F.embedding(at, layer.quantized.dequantize())), ids
    assert (layer.num_embeddings, layer.embedding_dim) == (20, 48)


@pytest.mark.parametrize("scheme", ["rtn:int3", "rtn:uint5z", "rtn:uint7t/f32", "nf3", "rtn:uint1g4o"])
def test_embedding_whose_rows_do_not_fill_bytes(scheme: str) -> None:
    layer = QuantizedEmbedding.from_float(seeded(nn.Embedding(12, 5)), Scheme.parse(scheme))
    ids = torch.tensor([[11, 0], [4, 5]])
    assert torch.equal(layer(ids), F.embedding(ids, layer.quantized.dequantize()))
    assert layer(torch.tensor(7)).shape == (5,)


@pytest.mark.parametrize("dtype", DTYPES)
def test_embedding_answers_in_the_dtype_of_the_model(dtype: torch.dtype) -> None:
    layer = QuantizedEmbedding.from_float(seeded(nn.Embedding(12, 8)), Scheme.parse("nf4g8")).to(dtype)
    ids = torch.tensor([1, 2], dtype=torch.int32)
    assert torch.equal(layer(ids), F.embedding(ids, layer.quantized.dequantize(dtype)))
    assert layer(ids).dtype == dtype


@pytest.mark.parametrize("row", [-1, 12])
def test_embedding_refuses_ids_as_torch_does(row: int) -> None:
    layer = QuantizedEmbedding.from_float(seeded(nn.Embedding(12, 8)), Scheme.parse("rtn:int8"))
    with pytest.raises(IndexError):
        layer(torch.tensor([row]))


def test_an_embedding_that_renormalises_itself_is_refused() -> None:
    with pytest.raises(FewbitsError, match="max_norm changes its weights"):
        QuantizedEmbedding.from_float(nn.Embedding(12, 8, max_norm=1.0), Scheme.parse("rtn:int8"))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a8_by_hand(dtype: torch.dtype) -> None:
    layer, x = linear("rtn:int8a8/f32").to(dtype), randn(2, 3, 48).to(dtype)
    rounded = torch.empty_like(x)
    for i, j in itertools.product(range(2), range(3)):
        values = x[i, j].tolist()
        step = torch.tensor(max(abs(v) for v in values)) / 127
        rounded[i, j] = torch.tensor([round(float(torch.tensor(v) / step)) * step for v in values]).to(dtype)
    assert torch.equal(layer(x), F.linear(rounded, layer.quantized.dequantize(dtype), layer.bias))
    assert not torch.equal(rounded, x)


def test_a8_rounds_each_row_by_itself_to_at_most_255_levels() -> None:
    x = randn(4, 512) * torch.tensor([[1e-6], [1.0], [1e4], [0.0]])
    rounded = round_rows(x)
    step = x.abs().amax(dim=1, keepdim=True) / 127
    assert ((rounded - x).abs() <= 0.5001 * step).all()
    assert all(row.unique().numel() <= 255 for row in rounded)
    assert torch.allclose(rounded.abs().amax(dim=1), x.abs().amax(dim=1), rtol=1e-6)
    assert torch.equal(rounded[3], torch.zeros(512))
    assert torch.equal(round_rows(x[1:2]), rounded[1:2])


@pytest.mark.parametrize("shape", [(48,), (0, 48), (2, 1, 3, 48)])
def test_a8_takes_any_leading_shape(shape: tuple[int, ...]) -> None:
    layer, x = linear("rtn:uint4g8a8"), randn(*shape)
    assert torch.equal(layer(x), F.linear(round_rows(x), layer.dequantize(), layer.bias))


def test_a8_works_for_conv1d_and_is_refused_elsewhere() -> None:
    from transformers.pytorch_utils import Conv1D

    scheme, x = Scheme.parse("rtn:int8a8"), randn(3, 48)
    layer = QuantizedConv1D.from_float(seeded(Conv1D(24, 48)), scheme)
    assert torch.equal(layer(x), F.linear(round_rows(x), layer.dequantize(), layer.bias))
    for other, kind in ((nn.Conv2d(4, 4, 1), QuantizedConv2d), (nn.Embedding(4, 4), QuantizedEmbedding)):
        with pytest.raises(
            FewbitsError, match=f"rtn:int8a8: 'a8' is offered for linear layers; drop it for this {kind.kind()}"
        ):
            kind.from_float(other, scheme)
