"""A Llama for writing alone, built without transformers: its parts by the names and of the kinds that the fused step looks for.

Importing transformers' Llama takes 7 to 11 s where importing PyTorch takes 3 to 4: as long as all else until the first token.
"""

from collections.abc import Mapping, Sequence
from math import pi
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from fewbits.runtime.settings import NEUTRAL, ONLY, is_known

ROPES: Mapping[str, tuple[str, ...]] = {  # types of rotary embedding and what each is set by, besides rope_theta
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}
SIZES = {  # settings that must be there, and the most that the fused step computes
    "hidden_size": 8192,
    "intermediate_size": 32_768,
    "num_hidden_layers": 60,
    "num_attention_heads": 8192,
    "num_key_value_heads": 8192,
    "vocab_size": 1 << 24,
    "max_position_embeddings": 1 << 32,
}
OPTIONAL: Mapping[str, type] = {"attention_bias": bool, "mlp_bias": bool, "head_dim": int, "tie_word_embeddings": bool}
CHECKED = ("hidden_act", "pretraining_tp", "rms_norm_eps", "rope_parameters")


class Attention(nn.Module):
    """The four projections."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.scaling = config.head_dim**-0.5
        queries, keys = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        bias = config.attention_bias
        self.q_proj = nn.Linear(config.hidden_size, queries, bias=bias)
        self.k_proj = nn.Linear(config.hidden_size, keys, bias=bias)
        self.v_proj = nn.Linear(config.hidden_size, keys, bias=bias)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=bias)

    def forward(self, x: Float[Tensor, "1 n w"], turns: tuple[Tensor, Tensor]) -> Float[Tensor, "1 n w"]:
        heads = [p(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj)]
        query, key, value = turned(heads[0], *turns), turned(heads[1], *turns), heads[2]
        key, value = (t.repeat_interleave(query.shape[1] // t.shape[1], dim=1) for t in (key, value))
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=self.scaling)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


def turned(x: Float[Tensor, "1 h n d"], cos: Float[Tensor, "1 n d"], sin: Float[Tensor, "1 n d"]) -> Float[Tensor, "1 h n d"]:
    """The rotary embedding of heads whose halves are turned together."""
    first, second = x.chunk(2, dim=-1)
    return x * cos[:, None] + torch.cat((-second, first), dim=-1) * sin[:, None]


class Mlp(nn.Module):
    """Two products whose results are multiplied, and one back."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)
        self.act_fn = nn.SiLU()

    def forward(self, x: Float[Tensor, "1 n w"]) -> Float[Tensor, "1 n w"]:
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """One of the transformer's."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = Mlp(config)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, x: Float[Tensor, "1 n w"], turns: tuple[Tensor, Tensor]) -> Float[Tensor, "1 n w"]:
        x = x + self.self_attn(self.input_layernorm(x), turns)
        return x + self.mlp(self.post_attention_layernorm(x))


class Rotary(nn.Module):
    """Cosines and sines of positions."""

    inverse: Tensor

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.register_buffer("inverse", inverse_frequencies(config.head_dim, config.rope_parameters), persistent=False)

    def forward(self, x: Tensor, ids: Int[Tensor, "1 n"]) -> tuple[Float[Tensor, "1 n d"], Float[Tensor, "1 n d"]]:
        angles = ids[..., None].float() * self.inverse.float().to(ids.device)
        both = torch.cat((angles, angles), dim=-1)
        return both.cos().to(x.dtype), both.sin().to(x.dtype)


class Body(nn.Module):
    """All but the head."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        sizes = config.vocab_size, config.hidden_size  # to draw weights, even on the meta device, would import torch._dynamo
        self.embed_tokens = nn.Embedding(*sizes, _weight=torch.empty(sizes))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, ids: Int[Tensor, "1 n"]) -> Float[Tensor, "1 n w"]:
        x = self.embed_tokens(ids)
        rotary: Any = self.rotary_emb
        turns = rotary(x, torch.arange(ids.shape[1], device=ids.device)[None])
        for layer in self.layers:
            x = layer(x, turns)
        return self.norm(x)


class LightLlama(nn.Module):
    """What `generate` needs of a model. Its own forward, without a cache, is what the fused step is held against."""

    base_model_prefix = "model"

    def __init__(self, config: Mapping[str, Any], ends: Any, dtype: torch.dtype) -> None:
        """`config`: what `config.json` holds, see `why_not`; its weights are on the meta device."""
        super().__init__()
        optional = {
            "attention_bias": False,
            "mlp_bias": False,
            "head_dim": config["hidden_size"] // config["num_attention_heads"],
        }
        self.config = SimpleNamespace(**optional | dict(config))
        self.generation_config = SimpleNamespace(eos_token_id=ends)
        with torch.device("meta"):
            self.model = Body(self.config)
            self.lm_head = nn.Linear(self.config.hidden_size, self.config.vocab_size, bias=False)
        self.to(dtype)
        self.model.rotary_emb = Rotary(self.config)

    @property
    def dtype(self) -> torch.dtype:
        return self.model.norm.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.model.norm.weight.device

    def forward(self, input_ids: Int[Tensor, "1 n"], logits_to_keep: int = 0) -> SimpleNamespace:
        """The logits of the last tokens, 0: of all, as transformers' Llama computes them."""
        return SimpleNamespace(logits=self.lm_head(self.model(input_ids)[:, -logits_to_keep:]))

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embed_tokens

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head


class PlainTokenizer:
    """The tokenizer of a `tokenizer.json`, as far as writing asks for it."""

    def __init__(self, path: str) -> None:
        from tokenizers import Tokenizer

        self._inner = Tokenizer.from_file(path)
        self._inner.no_truncation()  # transformers reads these settings of the file, and does neither unless asked
        self._inner.no_padding()

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": self._inner.encode(text).ids}

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """The text of tokens."""
        return self._inner.decode(list(ids), skip_special_tokens=skip_special_tokens)


def why_not(config: Mapping[str, Any]) -> str | None:
    """Why a model of this configuration is not built here; None if it is.

    Every setting must be known, and every size in its range: what transformers would complete or read is left to it.
    """
    if config.get("architectures") != ["LlamaForCausalLM"] or config.get("model_type") != "llama":
        return "it is no Llama"
    if config.get("hidden_act") != "silu" or config.get("pretraining_tp", 1) != 1:
        return "its activation is not silu, or its weights are parted"
    for name, most in SIZES.items():
        if type(config.get(name)) is not int or not 1 <= config[name] <= most:
            return f"{name} is {config.get(name)!r:.40}"
    if config["num_attention_heads"] % config["num_key_value_heads"] or config["hidden_size"] % config["num_attention_heads"]:
        return "its heads do not divide its width"
    if type(config.get("rms_norm_eps")) is not float or not 0 < config["rms_norm_eps"] < 1:
        return f"rms_norm_eps is {config.get('rms_norm_eps')!r:.40}"
    for name, value in config.items():
        neutral = value is None or name in NEUTRAL or (name in ONLY and is_known(name, value))
        if not neutral and name not in OPTIONAL and name not in SIZES and name not in CHECKED:
            return f"it sets {name}"
        if name in OPTIONAL and type(value) is not OPTIONAL[name]:
            return f"{name} is {value!r:.40}"
    return _why_not_rotary(config.get("rope_parameters"))


def _why_not_rotary(rope: Any) -> str | None:
    kind: Any = rope.get("rope_type", "default") if isinstance(rope, Mapping) else None
    if kind not in tuple(ROPES) or rope.get("partial_rotary_factor", 1) != 1:
        return "its rotary embedding is of another type"
    known = {"rope_theta", *ROPES[kind]}
    if rope.keys() - known - {"rope_type", "partial_rotary_factor"} or not known <= rope.keys():
        return f"its rotary embedding is not set by {', '.join(sorted(known))}"
    if not all(type(rope[name]) in (int, float) and 0 < rope[name] < float("inf") for name in known):
        return "its rotary embedding is set by something that is no positive number"
    return None


def inverse_frequencies(head_dim: int, rope: Mapping[str, Any]) -> Float[Tensor, " half"]:
    """Of a rotary embedding, as transformers computes them (modeling_rope_utils.py, version 5)."""
    plain = 1.0 / (rope["rope_theta"] ** (torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim))
    kind = rope.get("rope_type", "default")
    if kind == "linear":
        return plain / rope["factor"]
    if kind != "llama3":
        return plain
    low, high, known = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    length = 2 * pi / plain
    smooth = (known / length - low) / (high - low)
    mixed = (1 - smooth) * plain / rope["factor"] + smooth * plain
    slow, between = length > known / low, (length <= known / low) & (length >= known / high)
    return torch.where(between, mixed, torch.where(slow, plain / rope["factor"], plain))
