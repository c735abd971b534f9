"""Quantized layers as things that are kept: cast, copied, saved, tied, and put in another's place."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fewbits.layers import QuantizedConv2d, QuantizedEmbedding, QuantizedLayer, QuantizedLinear, replacement_for
from fewbits.scheme import Scheme
from fewbits.tensor import layout
from tests.test_layers import linear, randn, seeded

LAYERS = {
    "linear": (lambda: nn.Linear(48, 24), QuantizedLinear, lambda: randn(3, 48)),
    "conv2d": (lambda: nn.Conv2d(16, 8, 3, groups=2), QuantizedConv2d, lambda: randn(2, 16, 5, 5)),
    "embedding": (lambda: nn.Embedding(24, 48), QuantizedEmbedding, lambda: torch.tensor([1, 23])),
}


def made(name: str, scheme: str) -> QuantizedLayer:
    make, kind, _ = LAYERS[name]
    return kind.from_float(seeded(make()), Scheme.parse(scheme))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("scheme", ["rtn:uint4g8", "rtn:int8/f32", "rtn:uint3z/bf16", "nf4/q8"])
def test_casts_never_touch_what_is_stored(name: str, scheme: str) -> None:
    layer = made(name, scheme)
    before, weight = {k: v.clone() for k, v in layer.named_buffers() if k != "like"}, layer.dequantize()
    for cast in ("half", "bfloat16", "double", "float"):
        getattr(layer, cast)()
        assert {k: v.dtype for k, v in layer.named_buffers() if k != "like"} == {k: v.dtype for k, v in before.items()}
        assert all(torch.equal(layer.get_buffer(k), v) for k, v in before.items())
        assert torch.equal(layer.dequantize(), weight)
        assert all(p.dtype == getattr(torch, cast) for p in layer.parameters())
        assert layer.weight.dtype == getattr(torch, cast)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("scheme", ["rtn:uint4g8", "rtn:uint3z/bf16", "nf4/q8", "rtn:int1t/f32"])
def test_state_dict_round_trip(name: str, scheme: str) -> None:
    make, kind, inputs = LAYERS[name]
    layer = made(name, scheme)
    state = layer.state_dict()
    assert set(state) == set(layout(layer.scheme.format, layer.shape)) | ({"bias"} if layer.bias is not None else set())
    other = kind.empty_like(make(), layer.scheme)
    other.load_state_dict(state)
    assert torch.equal(other(inputs()), layer(inputs()))


@pytest.mark.parametrize("name", LAYERS)
def test_deepcopy_shares_nothing(name: str) -> None:
    inputs = LAYERS[name][2]()
    layer = made(name, "rtn:uint4g8")
    answer, other = layer(inputs), copy.deepcopy(layer)
    assert torch.equal(other(inputs), answer)
    for buffer in layer.buffers():
        buffer.zero_()
    assert torch.equal(other(inputs), answer)


@pytest.mark.parametrize("name", LAYERS)
def test_an_empty_layer_needs_no_weights(name: str) -> None:
    """Sizes are told from models on the meta device."""
    make, kind, _ = LAYERS[name]
    layer = kind.empty_like(make().to("meta"), Scheme.parse("rtn:uint3g8"))
    assert all(b.is_meta for b in layer.buffers())
    full = made(name, "rtn:uint3g8")
    assert {k: (v.shape, v.dtype) for k, v in layer.named_buffers()} == {k: (v.shape, v.dtype) for k, v in full.named_buffers()}


def test_bias_and_mode_are_taken_over() -> None:
    original = nn.Linear(8, 4).train()
    layer = QuantizedLinear.from_float(original, Scheme.parse("rtn:int8"))
    assert layer.bias is original.bias
    assert layer.training
    assert not QuantizedLinear.from_float(original.eval(), Scheme.parse("rtn:int8")).training
    assert [name for name, _ in layer.named_parameters()] == ["bias"]


def test_the_original_weight_is_not_changed_nor_held() -> None:
    original = seeded(nn.Linear(48, 24))
    before = original.weight.detach().clone()
    layer = QuantizedLinear.from_float(original, Scheme.parse("rtn:uint8"))
    held = layer.dequantize()
    assert torch.equal(original.weight, before)
    with torch.no_grad():
        original.weight.zero_()
    assert torch.equal(layer.dequantize(), held)


def test_a_tied_layer_stores_nothing_and_follows_its_source() -> None:
    source = made("embedding", "rtn:uint4g8")
    head = QuantizedLinear.empty_like(seeded(nn.Linear(48, 24)), source.scheme, device="meta")
    head.tie(source)
    x = randn(2, 48)
    assert set(head.state_dict()) == {"bias"}
    assert (head.tied, source.tied) == (True, False)
    assert torch.equal(head(x), F.linear(x, source.dequantize(), head.bias))
    pair = nn.ModuleDict({"embed": source, "head": head})
    twin = copy.deepcopy(pair)
    source.get_buffer("codes").zero_()
    assert torch.equal(head(x), F.linear(x, source.dequantize(), head.bias))
    assert not torch.equal(twin["head"](x), head(x))  # the copy's head reads the copy's embedding
    assert "tied" in repr(head)


def test_only_the_very_types_are_replaced() -> None:
    """A subclass may compute something else with its weight, as torch's attention does."""
    attention = nn.MultiheadAttention(8, 2)
    assert replacement_for(attention.out_proj) is None
    assert replacement_for(nn.LazyLinear(4)) is None
    assert replacement_for(nn.Conv1d(4, 4, 1)) is None
    assert replacement_for(nn.EmbeddingBag(4, 4)) is None
    assert replacement_for(nn.Linear(4, 4)) is QuantizedLinear
    assert replacement_for(nn.Conv2d(4, 4, 1)) is QuantizedConv2d
    assert replacement_for(nn.Embedding(4, 4)) is QuantizedEmbedding


def test_repr_tells_the_scheme() -> None:
    assert repr(linear()) == "QuantizedLinear(rtn:uint4g8, shape=(24, 48), bias=True)"
