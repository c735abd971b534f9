"""Llamas that were changed so that the fused step must not be used, and what is said of each."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from fewbits.runtime.decode import decoder_for
from fewbits.runtime.sampling import Sampling
from tests import tiny


def decoder(model: Any, length: int = 20) -> Any:
    return decoder_for(model, 1, length, Sampling())


def tokens(model: Any, count: int = 12) -> Tensor:
    return torch.cat(list(decoder(model, 6 + count).tokens(tiny.tokens(1, 6), None, count)), dim=1)


def own_tokens(model: Any, count: int = 12) -> Tensor:
    """Greedy, without a cache."""
    ids = tiny.tokens(1, 6)
    with torch.inference_mode():
        for _ in range(count):
            ids = torch.cat([ids, model(input_ids=ids).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    return ids[:, 6:]


def wide(model: Any) -> Any:
    """Weights wide enough that greedy tokens change with what is computed."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(8) if p.dim() > 1 else p.add_(torch.randn(p.shape, generator=generator) * 0.1)
    return model


def llama() -> Any:
    return wide(tiny.llama(tied=False))


def twice(module: nn.Module, args: Any, output: Any) -> Any:
    return 2 * output


class Doubled(nn.Module):
    """What a LoRA wrapper looks like."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.base_layer = inner

    @property
    def weight(self) -> Tensor:
        return self.base_layer.weight

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.base_layer(x)


class Halved(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


class OtherForward(LlamaForCausalLM):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        out = super().forward(*args, **kwargs)
        out.logits = -out.logits
        return out


class OtherLinear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * 3


def hooked(model: Any) -> None:
    model.model.layers[1].mlp.register_forward_hook(twice)


def hooked_before(model: Any) -> None:
    model.model.layers[0].self_attn.o_proj.register_forward_pre_hook(lambda module, args: (args[0] * 2,))


def hooked_root(model: Any) -> None:
    model.register_forward_hook(lambda module, args, out: out)


def patched(model: Any) -> None:
    layer = model.model.layers[0].mlp
    inner = layer.forward
    layer.forward = lambda x: 2 * inner(x)


def patched_leaf(model: Any) -> None:
    layer = model.model.layers[1].self_attn.v_proj
    inner = layer.forward
    layer.forward = lambda x: 2 * inner(x)


def wrapped(model: Any) -> None:
    attention = model.model.layers[0].self_attn
    attention.q_proj = Doubled(attention.q_proj)


def parametrized(model: Any) -> None:
    torch.nn.utils.parametrize.register_parametrization(model.model.layers[0].self_attn.k_proj, "weight", Halved())


def subclassed(model: Any) -> None:
    model.__class__ = OtherForward


def subclassed_leaf(model: Any) -> None:
    model.model.layers[1].mlp.up_proj.__class__ = OtherLinear


def sinks(model: Any) -> None:
    model.model.layers[0].self_attn.sinks = nn.Parameter(torch.zeros(4))


def buffer(model: Any) -> None:
    model.model.layers[0].register_buffer("residual_scale", torch.ones(1))


def child(model: Any) -> None:
    model.model.layers[0].self_attn.q_norm = nn.RMSNorm(16)


def activation(model: Any) -> None:
    model.model.layers[1].mlp.act_fn = nn.GELU(approximate="tanh")


def setting(name: str, value: Any) -> Callable[[Any], None]:
    return lambda model: vars(model.config).update({name: value})


def in_attention(name: str, value: Any) -> Callable[[Any], None]:
    return lambda model: setattr(model.model.layers[1].self_attn, name, value)


def narrow_mlp(model: Any) -> None:
    mlp = model.model.layers[1].mlp
    mlp.gate_proj, mlp.up_proj, mlp.down_proj = nn.Linear(64, 32, False), nn.Linear(64, 32, False), nn.Linear(32, 64, False)


def narrow_keys(model: Any) -> None:
    model.model.layers[1].self_attn.k_proj = nn.Linear(64, 16, bias=False)


def long_bias(model: Any) -> None:
    model.model.layers[0].self_attn.o_proj.bias = nn.Parameter(torch.zeros(1))


def small_embedding(model: Any) -> None:
    model.model.embed_tokens = nn.Embedding(40, 64)


def fewer_layers(model: Any) -> None:
    model.model.layers = model.model.layers[:1]


HOSTILE: dict[str, tuple[Callable[[Any], None], str]] = {
    "hook": (hooked, "model.layers.1.mlp has a forward hook"),
    "pre-hook": (hooked_before, "forward hook"),
    "hook on the model": (hooked_root, "forward hook"),
    "patched MLP": (patched, "model.layers.0.mlp has a patched forward"),
    "patched leaf": (patched_leaf, "patched forward"),
    "LoRA": (wrapped, "unknown class Doubled"),
    "parametrization": (parametrized, "parametrized"),
    "subclass": (subclassed, "OtherForward is not one of the models"),
    "subclass of a leaf": (subclassed_leaf, "unknown class OtherLinear"),
    "sinks": (sinks, "also has sinks"),
    "buffer": (buffer, "also has residual_scale"),
    "child": (child, "attention also has q_norm"),
    "activation": (activation, "activations differ"),
    "soft cap": (setting("attn_logit_softcapping", 30.0), "changes the scores"),
    "unknown setting": (setting("attention_sink_size", 4), "it sets attention_sink_size"),
    "temperature": (setting("attn_temperature_tuning", True), "it sets attn_temperature_tuning"),
    "no rope": (setting("no_rope_layers", [0, 1]), "it sets no_rope_layers"),
    "attention function": (setting("_attn_implementation_internal", "mine"), "its attention is 'mine'"),
    "scaling": (in_attention("scaling", 1.0), "scaled differently"),
    "not causal": (in_attention("is_causal", False), "not causal"),
    "groups": (in_attention("num_key_value_groups", 1), "in groups of 1"),
    "head size": (in_attention("head_dim", 32), "heads of 32"),
    "more heads of keys": (setting("num_key_value_heads", 4), "is 32 x 64, not 64 x 64"),
    "more heads": (setting("num_attention_heads", 16), "is 64 x 64, not 256 x 64"),
    "odd heads": (setting("num_key_value_heads", 3), "4 heads over 3"),
    "no heads": (setting("num_attention_heads", 0), "heads is 0"),
    "text for a number": (setting("num_attention_heads", "4"), "'4'"),
    "wider": (setting("hidden_size", 128), "is 64 x 64, not 64 x 128"),
    "narrow MLP": (narrow_mlp, "layer 1: an input projection of the MLP is 32 x 64"),
    "narrow keys": (narrow_keys, "is 16 x 64, not 32 x 64"),
    "bias": (long_bias, r"bias of \(1,\)"),
    "small embedding": (small_embedding, "a head of 96 tokens over an embedding of 40"),
    "fewer layers": (fewer_layers, "1 layers where its configuration has 2"),
    "dropout": (lambda model: (setattr(model.config, "attention_dropout", 0.5), model.train())[0], "training mode"),
}
