"""What a causal language model is made of, found by looking at its parts: norms, projections, activation, rotary embedding.

Nothing is taken from a class's name. Norms and activations are tried on numbers and compared with what the fused step would
compute; what does not match is refused with a reason, and the model then runs as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewbits.layers import QuantizedLayer

ACTIVATIONS: tuple[Callable[[Tensor], Tensor], ...] = (F.silu, lambda x: F.gelu(x, approximate="tanh"), F.relu)


class UnknownStructure(Exception):
    """The fused step cannot compute this model; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Some outputs of a linear layer: a part of a merged projection, or all."""

    layer: nn.Module
    first: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Block:
    """One layer of the transformer; `gate` is None for a plain MLP, whose first product is `up`."""

    norm1: nn.Module
    qkv: tuple[Rows, ...]
    out: Rows
    norm2: nn.Module
    gate: Rows | None
    up: Rows
    down: Rows
    scaling: float


@dataclass(frozen=True, kw_only=True)
class Structure:
    """A decoder: embeddings, blocks, the last norm and the head."""

    embedding: nn.Module
    positions: nn.Module | None
    rotary: nn.Module | None
    blocks: tuple[Block, ...]
    norm: nn.Module
    head: nn.Module
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    layer_norm: bool
    activation: int
    vocabulary: int


def recognise(model: Any) -> Structure:
    """Raises UnknownStructure."""
    config = model.config
    body = getattr(model, getattr(model, "base_model_prefix", ""), None)
    layers = getattr(body, "layers", None) or getattr(body, "h", None)
    if layers is None:
        raise UnknownStructure("no list of layers was found")
    _no_surprises(config)
    blocks = tuple(_block(layer, config) for layer in layers)
    first = layers[0]
    attention = _one(first, "self_attn", "attn")
    heads = config.num_attention_heads
    head_dim = attention.head_dim
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    norm = _one(body, "norm", "ln_f")
    kinds = {_norm_kind(n) for b in blocks for n in (b.norm1, b.norm2)} | {_norm_kind(norm)}
    if len(kinds) != 1:
        raise UnknownStructure("its norms differ from layer to layer")
    layer_norm, eps = kinds.pop()
    mlp = first.mlp
    positions = getattr(body, "wpe", None)
    rotary = getattr(body, "rotary_emb", None)
    if (positions is None) == (rotary is None):
        raise UnknownStructure("positions are neither learned nor rotary")
    return Structure(
        embedding=model.get_input_embeddings(),
        positions=positions,
        rotary=rotary,
        blocks=blocks,
        norm=norm,
        head=model.get_output_embeddings(),
        hidden=config.hidden_size,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        eps=eps,
        layer_norm=layer_norm,
        activation=_activation(_one(mlp, "act_fn", "act", "activation_fn")),
        vocabulary=model.get_output_embeddings().weight.shape[0]
        if isinstance(model.get_output_embeddings(), nn.Linear)
        else model.get_output_embeddings().shape[0],
    )


def window_of(config: Any) -> int | None:
    """How many tokens each looks at, itself and those before it; None: all. Shorter sequences do not notice."""
    return getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None


def _no_surprises(config: Any) -> None:
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type", "default") not in ("default", "linear", "llama3", "yarn"):
        raise UnknownStructure(f"rotary embedding of type {rope['rope_type']} depends on the length")
    for name in ("logit_scale", "logits_scaling", "residual_multiplier", "embedding_multiplier", "final_logit_softcapping"):
        if getattr(config, name, None) not in (None, 1, 1.0):
            raise UnknownStructure(f"it sets {name}")
    if getattr(config, "add_cross_attention", False):
        raise UnknownStructure("it has cross attention")


def _block(layer: nn.Module, config: Any) -> Block:
    known = {"self_attn", "attn", "mlp", "input_layernorm", "post_attention_layernorm", "ln_1", "ln_2"}
    extra = {n for n, m in layer.named_children() if not isinstance(m, nn.Dropout)} - known
    if extra:
        raise UnknownStructure(f"a layer also has {', '.join(sorted(extra))}")
    attention, mlp = _one(layer, "self_attn", "attn"), _one(layer, "mlp")
    extra = {n for n, m in attention.named_children() if not isinstance(m, nn.Dropout)}
    extra -= {"q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "c_attn", "c_proj"}
    if extra:
        raise UnknownStructure(f"attention also has {', '.join(sorted(extra))}")
    if hasattr(attention, "q_proj"):
        qkv = tuple(_whole(m) for m in (attention.q_proj, attention.k_proj, attention.v_proj))
    else:
        qkv = (_whole(_one(attention, "qkv_proj", "c_attn")),)
    gate: Rows | None = None
    if hasattr(mlp, "gate_up_proj"):
        both = _whole(mlp.gate_up_proj)
        half = both.count // 2
        gate, up = Rows(layer=both.layer, first=0, count=half), Rows(layer=both.layer, first=half, count=half)
    elif hasattr(mlp, "gate_proj"):
        gate, up = _whole(mlp.gate_proj), _whole(mlp.up_proj)
    else:
        up = _whole(_one(mlp, "c_fc"))
    return Block(
        norm1=_one(layer, "input_layernorm", "ln_1"),
        qkv=qkv,
        out=_whole(_one(attention, "o_proj", "c_proj")),
        norm2=_one(layer, "post_attention_layernorm", "ln_2"),
        gate=gate,
        up=up,
        down=_whole(_one(mlp, "down_proj", "c_proj")),
        scaling=float(attention.scaling),
    )


def _one(module: Any, *names: str) -> Any:
    for name in names:
        if hasattr(module, name):
            return getattr(module, name)
    raise UnknownStructure(f"{type(module).__name__} has no {' or '.join(names)}")


def _whole(layer: nn.Module) -> Rows:
    count = layer.shape[0] if isinstance(layer, QuantizedLayer) else layer.get_parameter("weight").shape[0]
    return Rows(layer=layer, first=0, count=count)


def _norm_kind(norm: nn.Module) -> tuple[bool, float]:
    """Whether it subtracts the mean, and its epsilon; both tried on numbers."""
    eps = float(getattr(norm, "variance_epsilon", None) or getattr(norm, "eps", 0.0))
    weight = norm.get_parameter("weight")
    x = torch.linspace(-1, 2, weight.numel(), device=weight.device, dtype=torch.float32)
    with torch.inference_mode():
        have = norm(x.to(weight.dtype)).float()
        for layer_norm in (False, True):
            centred = x - x.mean() if layer_norm else x
            want = centred * torch.rsqrt(centred.square().mean() + eps) * weight.float()
            bias = getattr(norm, "bias", None)
            want = want if bias is None else want + bias.float()
            if torch.allclose(have, want, rtol=2e-2, atol=2e-2 * float(want.abs().max())):
                return layer_norm, eps
    raise UnknownStructure(f"{type(norm).__name__} is neither RMSNorm nor LayerNorm")


def _activation(function: Any) -> int:
    x = torch.linspace(-4, 4, 33)
    with torch.inference_mode():
        for code, known in enumerate(ACTIVATIONS):
            if torch.allclose(function(x), known(x), atol=1e-4):
                return code
    raise UnknownStructure("its activation is not silu, gelu (tanh) or relu")
