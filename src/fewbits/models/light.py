"""A Llama for writing alone, built without transformers: its parts by the names and of the kinds that the fused step looks for.

Importing transformers' Llama takes 7 to 11 s where importing PyTorch takes 3 to 4: as long as all else until the first token.
"""

from collections.abc import Mapping, Sequence
from math import pi
from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

ROPES = ("default", "linear", "llama3")


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


class Mlp(nn.Module):
    """Two products whose results are multiplied, and one back."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)
        self.act_fn = nn.SiLU()


class Layer(nn.Module):
    """One of the transformer's."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = Mlp(config)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)


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


class LightLlama(nn.Module):
    """What `generate` needs of a model. It has no forward of its own: only the fused step computes it."""

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

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embed_tokens

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head


class PlainTokenizer:
    """The tokenizer of a `tokenizer.json`, as far as writing asks for it."""

    def __init__(self, path: str) -> None:
        from tokenizers import Tokenizer

        self._inner = Tokenizer.from_file(path)

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": self._inner.encode(text).ids}

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """The text of tokens."""
        return self._inner.decode(list(ids), skip_special_tokens=skip_special_tokens)


def why_not(config: Mapping[str, Any]) -> str | None:
    """Why a model of this configuration is not built here; None if it is."""
    if config.get("architectures") != ["LlamaForCausalLM"] or config.get("model_type") != "llama":
        return "it is no Llama"
    if config.get("hidden_act") != "silu" or config.get("pretraining_tp", 1) != 1:
        return "its activation is not silu, or its weights are parted"
    rope = config.get("rope_parameters")
    if (
        not isinstance(rope, Mapping)
        or rope.get("rope_type", "default") not in ROPES
        or rope.get("partial_rotary_factor", 1) != 1
    ):
        return "its rotary embedding is of another type"
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
