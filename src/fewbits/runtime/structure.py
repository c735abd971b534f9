"""The parts of a causal language model that the fused steps compute: norms, projections, activation, rotary embedding.

Norms and activations are tried on numbers. Only models of known classes with known settings are accepted (known.py), unpatched
(untouched.py) and with sizes that fit together (sizes.py); any other is refused with a reason, and its own forward is used.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewbits.runtime import sizes, untouched
from fewbits.runtime.known import UnknownStructure, failed

__all__ = ["ACTIVATIONS", "Block", "Rows", "Structure", "UnknownStructure", "check_length", "longest", "recognise", "window_of"]

ACTIVATIONS: tuple[Callable[[Tensor], Tensor], ...] = (F.silu, lambda x: F.gelu(x, approximate="tanh"), F.relu)
_FIXED = ("default", "linear", "llama3", "yarn")  # rotary embeddings that do not depend on the length


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
    """The parts of a model that the fused steps compute.

    Raises:
        UnknownStructure: for any other model, and for one whose parts cannot be read.
    """
    try:
        untouched.check_unpatched(model)
        found = _read(model)
        untouched.check_modules(model)
        untouched.check_settings(model.config)
        sizes.check(found, model)
    except UnknownStructure:
        raise
    except Exception as error:
        raise failed("its structure cannot be read", error) from error
    return found


def _read(model: Any) -> Structure:
    config = model.config
    body = getattr(model, getattr(model, "base_model_prefix", ""), None)
    layers = getattr(body, "layers", None) or getattr(body, "h", None)
    if layers is None:
        raise UnknownStructure("no list of layers was found")
    _no_surprises(config)
    blocks = tuple(_block(layer) for layer in layers)
    heads = config.num_attention_heads
    norm = _one(body, "norm", "ln_f")
    kinds = {_norm_kind(n) for b in blocks for n in (b.norm1, b.norm2)} | {_norm_kind(norm)}
    if len(kinds) != 1:
        raise UnknownStructure("its norms differ from layer to layer")
    layer_norm, eps = kinds.pop()
    activations = {_activation(_one(layer.mlp, "act_fn", "act", "activation_fn")) for layer in layers}
    if len(activations) != 1:
        raise UnknownStructure("its activations differ from layer to layer")
    positions = getattr(body, "wpe", None)
    rotary = getattr(body, "rotary_emb", None)
    if (positions is None) == (rotary is None):
        raise UnknownStructure("positions are neither learned nor rotary")
    kind = getattr(rotary, "rope_type", "default")  # of its module, which may differ from the configuration
    if kind not in _FIXED:
        raise UnknownStructure(f"rotary embedding of type {kind} depends on the length")
    head = model.get_output_embeddings()
    return Structure(
        embedding=model.get_input_embeddings(),
        positions=positions,
        rotary=rotary,
        blocks=blocks,
        norm=norm,
        head=head,
        hidden=config.hidden_size,
        heads=heads,
        kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=_one(layers[0], "self_attn", "attn").head_dim,
        eps=eps,
        layer_norm=layer_norm,
        activation=activations.pop(),
        vocabulary=sizes.of(head)[0],
    )


def window_of(config: Any) -> int | None:
    """The number of tokens that each token attends to, itself included; None: all. Shorter sequences are not affected."""
    return getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None


def longest(structure: Structure, config: Any) -> int | None:
    """The longest sequence that the fused steps may compute; None: any. Windows and learned positions end it."""
    ends = [window_of(config), None if structure.positions is None else sizes.of(structure.positions)[0]]
    return min((end for end in ends if end is not None), default=None)


def check_length(structure: Structure, config: Any, length: int) -> None:
    """Raises UnknownStructure for a sequence longer than `longest`."""
    most = longest(structure, config)
    if most is not None and length > most:
        raise UnknownStructure(f"{length} tokens are more than its window or its positions of {most}")


def _no_surprises(config: Any) -> None:
    rope = getattr(config, "rope_parameters", None) or {}
    if any(isinstance(value, dict) for value in rope.values()):
        raise UnknownStructure("its rotary embedding differs from layer to layer")
    if rope.get("rope_type", "default") not in _FIXED:
        raise UnknownStructure(f"rotary embedding of type {rope['rope_type']} depends on the length")
    for name in ("logit_scale", "logits_scaling", "residual_multiplier", "embedding_multiplier", "final_logit_softcapping"):
        if getattr(config, name, None) not in (None, 1, 1.0):
            raise UnknownStructure(f"it sets {name}")
    if getattr(config, "add_cross_attention", False):
        raise UnknownStructure("it has cross attention")
    if set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}:
        raise UnknownStructure("its layers are of other types than attention")
    if getattr(config, "attn_logit_softcapping", None) or getattr(config, "scale_attn_by_inverse_layer_idx", False):
        raise UnknownStructure("its attention changes the scores")


def _block(layer: nn.Module) -> Block:
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
        scaling=_scaling(attention),
    )


def _one(module: Any, *names: str) -> Any:
    for name in names:
        if hasattr(module, name):
            return getattr(module, name)
    raise UnknownStructure(f"{type(module).__name__} has no {' or '.join(names)}")


def _scaling(attention: Any) -> float:
    """The factor of the scores; GPT-2's attention did not keep it in transformers 5.0."""
    if hasattr(attention, "scaling"):
        return float(attention.scaling)
    return attention.head_dim**-0.5 if attention.scale_attn_weights else 1.0


def _whole(layer: nn.Module) -> Rows:
    return Rows(layer=layer, first=0, count=sizes.of(layer)[0])


def _norm_kind(norm: nn.Module) -> tuple[bool, float]:
    """Whether it subtracts the mean, and its epsilon; both tried on numbers."""
    eps = getattr(norm, "variance_epsilon", None)
    eps = getattr(norm, "eps", None) if eps is None else eps
    if eps is None:
        raise UnknownStructure(f"{type(norm).__name__} has no epsilon")
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
                return layer_norm, float(eps)
    raise UnknownStructure(f"{type(norm).__name__} is neither RMSNorm nor LayerNorm")


def _activation(function: Any) -> int:
    x = torch.cat([torch.linspace(-4, 4, 33), torch.linspace(-40, 40, 41)])
    with torch.inference_mode():
        for code, known in enumerate(ACTIVATIONS):
            if torch.allclose(function(x), known(x), atol=1e-4):
                return code
    raise UnknownStructure("its activation is not silu, gelu (tanh) or relu")
