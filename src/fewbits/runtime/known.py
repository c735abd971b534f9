"""The models that the fused steps compute, class by class: everything else is refused.

A model is known if it and each of its modules are of exactly these classes with exactly these children and tensors, and its
configuration holds nothing that is not listed here. A subclass, a wrapper, another buffer or an unknown setting may change the
result, so each of them means "not recognised".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from fewbits.layers import QuantizedConv1D, QuantizedEmbedding, QuantizedLinear

_ACTIVATIONS = ("torch.nn.modules.activation", "transformers.activations")


class UnknownStructure(Exception):
    """The fused step cannot compute this model; the message says why."""


def failed(what: str, error: Exception) -> UnknownStructure:
    """Any other error in one line: whatever is wrong, the model's own forward decides."""
    return UnknownStructure(f"{what} ({type(error).__name__}: {' '.join(str(error).split())})"[:300])


@dataclass(frozen=True, kw_only=True)
class Node:
    """A module of one of some classes, its children and its own tensors. `each`: the elements of a list."""

    kinds: tuple[str, ...]
    children: Mapping[str, "Node"] = field(default_factory=dict)
    tensors: frozenset[str] = frozenset()
    each: "Node | None" = None


def name_of(kind: type) -> str:
    """Module and name of a class."""
    return f"{kind.__module__}:{kind.__qualname__}"


def _leaf(*kinds: type | str, tensors: str = "") -> Node:
    return Node(kinds=tuple(k if isinstance(k, str) else name_of(k) for k in kinds), tensors=frozenset(tensors.split()))


ACTIVATION = Node(kinds=())  # any of the modules in _ACTIVATIONS: structure.py tries it on numbers
LINEAR = _leaf(nn.Linear, QuantizedLinear, tensors="weight bias")
CONV1D = _leaf("transformers.pytorch_utils:Conv1D", QuantizedConv1D, tensors="weight bias")
EMBEDDING = _leaf(nn.Embedding, QuantizedEmbedding, tensors="weight")
LAYER_NORM = _leaf(nn.LayerNorm, tensors="weight bias")
DROPOUT = _leaf(nn.Dropout, nn.Identity)
LISTS = (name_of(nn.ModuleList),)
_MERGED = {"gate_up_proj": LINEAR, "down_proj": LINEAR, "activation_fn": ACTIVATION}
_GATED = {"gate_proj": LINEAR, "up_proj": LINEAR, "down_proj": LINEAR, "act_fn": ACTIVATION}
_PLAIN = {"c_fc": LINEAR, "c_proj": LINEAR, "act": ACTIVATION}
_APART = {"q_proj": LINEAR, "k_proj": LINEAR, "v_proj": LINEAR, "o_proj": LINEAR}


def llama_like(
    names: Mapping[str, str],
    *,
    norm: Node,
    rotary: str = "inv_freq original_inv_freq",
    attention: Mapping[str, Node] = _APART,
    mlp: Mapping[str, Node] = _GATED,
    dropouts: tuple[str, ...] = (),
) -> Node:
    """A model of Llama's layout. `names`: its classes; `dropouts`: the layer's, besides its four parts."""
    layer = Node(
        kinds=(names["layer"],),
        children={
            "self_attn": Node(kinds=(names["attention"],), children=attention),
            "mlp": Node(kinds=(names["mlp"],), children=mlp),
            "input_layernorm": norm,
            "post_attention_layernorm": norm,
            **dict.fromkeys(dropouts, DROPOUT),
        },
    )
    body = Node(
        kinds=(names["body"],),
        children={
            "embed_tokens": EMBEDDING,
            "layers": Node(kinds=LISTS, each=layer),
            "norm": norm,
            "rotary_emb": _leaf(names["rotary"], tensors=rotary),
        },
    )
    return Node(kinds=(names["model"],), children={"model": body, "lm_head": LINEAR})


def _of_transformers(folder: str, prefix: str, *, norm: Node | None = None, **parts: Any) -> tuple[str, Node]:
    def named(suffix: str) -> str:
        return f"transformers.models.{folder}.modeling_{folder}:{prefix}{suffix}"

    names = {"model": "ForCausalLM", "body": "Model", "layer": "DecoderLayer", "attention": "Attention", "mlp": "MLP"}
    names = {part: named(suffix) for part, suffix in {**names, "rotary": "RotaryEmbedding"}.items()}
    norm = norm or _leaf(named("RMSNorm"), tensors="weight")
    return names["model"], llama_like(names, norm=norm, **parts)


def _gpt2() -> tuple[str, Node]:
    def named(suffix: str) -> str:
        return f"transformers.models.gpt2.modeling_gpt2:GPT2{suffix}"

    projections = {"c_attn": CONV1D, "c_proj": CONV1D, "attn_dropout": DROPOUT, "resid_dropout": DROPOUT}
    mlp = {"c_fc": CONV1D, "c_proj": CONV1D, "act": ACTIVATION, "dropout": DROPOUT}
    block = {
        "ln_1": LAYER_NORM,
        "attn": Node(kinds=(named("Attention"),), children=projections, tensors=frozenset({"bias", "masked_bias"})),
        "ln_2": LAYER_NORM,
        "mlp": Node(kinds=(named("MLP"),), children=mlp),
    }
    body = {
        "wte": EMBEDDING,
        "wpe": EMBEDDING,
        "drop": DROPOUT,
        "h": Node(kinds=LISTS, each=Node(kinds=(named("Block"),), children=block)),
        "ln_f": LAYER_NORM,
    }
    children = {"transformer": Node(kinds=(named("Model"),), children=body), "lm_head": LINEAR}
    return named("LMHeadModel"), Node(kinds=(named("LMHeadModel"),), children=children)


def _light() -> tuple[str, Node]:
    names = {"model": "LightLlama", "body": "Body", "layer": "Layer", "attention": "Attention", "mlp": "Mlp"}
    names = {part: f"fewbits.models.light:{name}" for part, name in {**names, "rotary": "Rotary"}.items()}
    return names["model"], llama_like(names, norm=_leaf(nn.RMSNorm, tensors="weight"), rotary="inverse")


MODELS: Mapping[str, Node] = dict(
    (
        _of_transformers("llama", "Llama"),
        _of_transformers("mistral", "Mistral"),
        _of_transformers("ministral", "Ministral"),
        _of_transformers("qwen2", "Qwen2"),
        _of_transformers("granite", "Granite"),
        _of_transformers("seed_oss", "SeedOss"),
        _of_transformers(
            "phi3", "Phi3", mlp=_MERGED, attention={"qkv_proj": LINEAR, "o_proj": LINEAR},
            dropouts=("resid_attn_dropout", "resid_mlp_dropout"),
        ),
        _of_transformers("starcoder2", "Starcoder2", norm=LAYER_NORM, mlp=_PLAIN),
        _gpt2(),
        _light(),
    )
)  # fmt: skip


def is_activation(module: nn.Module) -> bool:
    """Whether it is one of the activation functions of PyTorch or transformers."""
    return type(module).__module__ in _ACTIVATIONS
