"""The sizes of a recognised model's tensors must fit together before any kernel is given their addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from fewbits.layers import QuantizedLayer
from fewbits.runtime.known import UnknownStructure

if TYPE_CHECKING:
    from fewbits.runtime.structure import Block, Structure


def of(layer: nn.Module) -> tuple[int, int]:
    """The outputs and inputs of a linear layer, or the rows and width of an embedding."""
    if isinstance(layer, QuantizedLayer):
        rows, columns = layer.shape
        return rows, columns
    rows, columns = layer.get_parameter("weight").shape
    return (columns, rows) if type(layer).__name__ == "Conv1D" else (rows, columns)


def check(s: Structure, model: Any) -> None:
    """Raises UnknownStructure where a layer has other sizes than the configuration, or than the layers it is used with."""
    for name in ("hidden", "heads", "kv_heads", "head_dim"):
        value = getattr(s, name)
        if type(value) is not int or value < 1:
            raise UnknownStructure(f"{name} is {value!r}")
    if s.heads % s.kv_heads or s.head_dim % 2:
        raise UnknownStructure(f"{s.heads} heads over {s.kv_heads} of keys, of {s.head_dim}")
    if not s.blocks:
        raise UnknownStructure("it has no layers")
    if getattr(model.config, "num_hidden_layers", len(s.blocks)) != len(s.blocks):
        raise UnknownStructure(f"{len(s.blocks)} layers where its configuration has {model.config.num_hidden_layers}")
    inner = s.blocks[0].up.count
    for i, block in enumerate(s.blocks):
        _block(block, s, inner, f"layer {i}")
    for attention in (m for m in model.modules() if hasattr(m, "num_key_value_groups") or hasattr(m, "split_size")):
        _attention(attention, s, model.config)
    _norm(s.norm, s, "the last norm")
    _linear(s.head, s.vocabulary, s.hidden, "the head")
    rows = of(s.embedding)[0]
    _width(s.embedding, s.hidden, "the embedding")
    if s.vocabulary > rows:
        raise UnknownStructure(f"a head of {s.vocabulary} tokens over an embedding of {rows}")
    if s.positions is not None:
        _width(s.positions, s.hidden, "the positions")


def _block(block: Block, s: Structure, inner: int, place: str) -> None:
    queries, keys = s.heads * s.head_dim, s.kv_heads * s.head_dim
    wanted = (queries, keys, keys) if len(block.qkv) == 3 else (queries + 2 * keys,)
    for rows, count in zip(block.qkv, wanted, strict=True):
        _linear(rows.layer, count, s.hidden, f"{place}: a projection of queries, keys or values")
    _linear(block.out.layer, s.hidden, queries, f"{place}: the output projection")
    merged = block.gate is not None and block.gate.layer is block.up.layer
    for rows in (block.up,) if block.gate is None else (block.gate, block.up):
        _linear(rows.layer, 2 * inner if merged else inner, s.hidden, f"{place}: an input projection of the MLP")
    _linear(block.down.layer, s.hidden, inner, f"{place}: the output projection of the MLP")
    _norm(block.norm1, s, f"{place}: the first norm")
    _norm(block.norm2, s, f"{place}: the second norm")
    first = s.blocks[0]
    if block.scaling != first.scaling:
        raise UnknownStructure("attention is scaled differently from layer to layer")
    if (block.gate is None, len(block.qkv)) != (first.gate is None, len(first.qkv)):
        raise UnknownStructure(f"{place} is laid out differently from the first")


def _attention(attention: Any, s: Structure, config: Any) -> None:
    """What the module itself computes with must be what the structure says."""
    groups = getattr(attention, "num_key_value_groups", 1)
    if attention.head_dim != s.head_dim or groups != s.heads // s.kv_heads:
        wanted = f"{s.head_dim} in groups of {s.heads // s.kv_heads}"
        raise UnknownStructure(f"heads of {attention.head_dim} in groups of {groups}, not of {wanted}")
    if getattr(attention, "is_cross_attention", False) or getattr(attention, "reorder_and_upcast_attn", False):
        raise UnknownStructure("its attention is not plain self-attention")
    if not getattr(attention, "is_causal", True):
        raise UnknownStructure("its attention is not causal")
    if attention.config is not config and vars(attention.config) != vars(config):
        raise UnknownStructure("a layer has a configuration of its own")


def _linear(layer: nn.Module, outputs: int, inputs: int, what: str) -> None:
    if of(layer) != (outputs, inputs):
        raise UnknownStructure(f"{what} is {' x '.join(map(str, of(layer)))}, not {outputs} x {inputs}")
    bias = getattr(layer, "bias", None)
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise UnknownStructure(f"{what} has a bias of {tuple(bias.shape)}, not of {outputs}")


def _width(layer: nn.Module, width: int, what: str) -> None:
    if of(layer)[1] != width:
        raise UnknownStructure(f"{what} is {of(layer)[1]} wide, not {width}")


def _norm(norm: nn.Module, s: Structure, what: str) -> None:
    for tensor in (norm.get_parameter("weight"), getattr(norm, "bias", None)):
        if tensor is not None and tuple(tensor.shape) != (s.hidden,):
            raise UnknownStructure(f"{what} has {tuple(tensor.shape)}, not {s.hidden}")
