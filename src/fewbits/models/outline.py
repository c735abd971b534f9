"""The layers of well-known language models, on the meta device, from `config.json` alone.

For telling sizes: building the model by transformers takes 3 s, most of it to import what sizes never need; this takes a
hundredth. Names, shapes, dtypes, classes' names and tied weights are those of transformers' own model (the tests hold one
against the other); nothing here can compute. What is not certain is left to transformers.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from fewbits.models.options import DTYPES

Config = Mapping[str, Any]


def outline_of(config: Config) -> nn.Module | None:
    """The layers that a configuration describes; None for an architecture, or a setting, that is not known here."""
    build = _FAMILIES.get((config.get("model_type"), *(config.get("architectures") or ())))
    dtype = DTYPES.get(str(config.get("dtype") or config.get("torch_dtype") or "float32"))
    if build is None or dtype is None or "quantization_config" in config or config.get("auto_map"):
        return None
    try:
        with torch.device("meta"):
            return build(config).to(dtype).eval()
    except (
        KeyError,
        TypeError,
        RuntimeError,
        ValueError,
        ArithmeticError,
        AttributeError,
        MemoryError,
    ):  # incomplete or odd: transformers says what is wrong
        return None


class _Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))


class LlamaRMSNorm(_Norm):
    """Scales alone."""


class MistralRMSNorm(_Norm):
    """Scales alone."""


class Qwen2RMSNorm(_Norm):
    """Scales alone."""


class Phi3RMSNorm(_Norm):
    """Scales alone."""


class Conv1D(nn.Module):
    """A linear layer whose weight is stored inputs first."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))


Conv1D.__module__ = "transformers.pytorch_utils"  # by which `layers.replacement_for` knows it


def _embedding(count: int, width: int) -> nn.Embedding:
    """Its weight is given: torch imports its compiler, 0.6 s, to draw one on the meta device."""
    return nn.Embedding(count, width, _weight=torch.empty(count, width))


def _decoder(config: Config, norm: type[_Norm], block: Callable[[], nn.Module], *, tied: bool) -> nn.Module:
    """Embeddings, blocks, a norm and a head, as the Llama family has them."""
    width, vocabulary = config["hidden_size"], config["vocab_size"]
    body = nn.ModuleDict({"embed_tokens": _embedding(vocabulary, width)})
    body["layers"] = nn.ModuleList(block() for _ in range(config["num_hidden_layers"]))
    body["norm"] = norm(width)
    return _with_head(nn.ModuleDict({"model": body}), body["embed_tokens"], tied=tied)


def _with_head(model: nn.ModuleDict, embedding: nn.Module, *, tied: bool) -> nn.Module:
    vocabulary, width = embedding.get_parameter("weight").shape
    model["lm_head"] = nn.Linear(width, vocabulary, bias=False)
    if tied:
        model["lm_head"].weight = embedding.get_parameter("weight")
    return model


def _llama(norm: type[_Norm], *, qkv_bias: bool | None = None) -> Callable[[Config], nn.Module]:
    """`qkv_bias` None: as the configuration's attention_bias and mlp_bias say, for the output projection too."""

    def build(config: Config) -> nn.Module:
        width, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
        head = config.get("head_dim") or width // heads
        q, kv = heads * head, (config.get("num_key_value_heads") or heads) * head
        if qkv_bias is None:
            bias = out_bias = bool(config.get("attention_bias"))
            mlp_bias = bool(config.get("mlp_bias"))
        else:
            bias, out_bias, mlp_bias = qkv_bias, False, False

        def block() -> nn.Module:
            attention = {"q_proj": nn.Linear(width, q, bias=bias), "k_proj": nn.Linear(width, kv, bias=bias)}
            attention |= {"v_proj": nn.Linear(width, kv, bias=bias), "o_proj": nn.Linear(q, width, bias=out_bias)}
            mlp = {name: nn.Linear(width, inner, bias=mlp_bias) for name in ("gate_proj", "up_proj")}
            mlp["down_proj"] = nn.Linear(inner, width, bias=mlp_bias)
            return _block(attention, mlp, norm, width)

        return _decoder(config, norm, block, tied=config.get("tie_word_embeddings", False))

    return build


def _phi3(config: Config) -> nn.Module:
    width, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    head = config.get("head_dim") or width // heads
    qkv = (heads + 2 * (config.get("num_key_value_heads") or heads)) * head

    def block() -> nn.Module:
        attention = {"o_proj": nn.Linear(heads * head, width, bias=False), "qkv_proj": nn.Linear(width, qkv, bias=False)}
        mlp = {"gate_up_proj": nn.Linear(width, 2 * inner, bias=False), "down_proj": nn.Linear(inner, width, bias=False)}
        return _block(attention, mlp, Phi3RMSNorm, width)

    return _decoder(config, Phi3RMSNorm, block, tied=config.get("tie_word_embeddings", False))


def _block(attention: dict[str, nn.Linear], mlp: dict[str, nn.Linear], norm: type[_Norm], width: int) -> nn.Module:
    parts = {"self_attn": nn.ModuleDict(attention), "mlp": nn.ModuleDict(mlp)}
    return nn.ModuleDict({**parts, "input_layernorm": norm(width), "post_attention_layernorm": norm(width)})


def _gpt2(config: Config) -> nn.Module:
    width = config["n_embd"]
    inner = config.get("n_inner") or 4 * width

    def block() -> nn.Module:
        attention = nn.ModuleDict({"c_attn": Conv1D(3 * width, width), "c_proj": Conv1D(width, width)})
        mlp = nn.ModuleDict({"c_fc": Conv1D(inner, width), "c_proj": Conv1D(width, inner)})
        return nn.ModuleDict({"ln_1": nn.LayerNorm(width), "attn": attention, "ln_2": nn.LayerNorm(width), "mlp": mlp})

    embedding = _embedding(config["vocab_size"], width)
    body = nn.ModuleDict({"wte": embedding, "wpe": _embedding(config["n_positions"], width)})
    body["h"] = nn.ModuleList(block() for _ in range(config["n_layer"]))
    body["ln_f"] = nn.LayerNorm(width)
    if config.get("add_cross_attention"):
        raise KeyError("add_cross_attention")
    return _with_head(nn.ModuleDict({"transformer": body}), embedding, tied=config.get("tie_word_embeddings", True))


_FAMILIES: dict[tuple[Any, ...], Callable[[Config], nn.Module]] = {
    ("llama", "LlamaForCausalLM"): _llama(LlamaRMSNorm),
    ("mistral", "MistralForCausalLM"): _llama(MistralRMSNorm, qkv_bias=False),
    ("qwen2", "Qwen2ForCausalLM"): _llama(Qwen2RMSNorm, qkv_bias=True),
    ("phi3", "Phi3ForCausalLM"): _phi3,
    ("gpt2", "GPT2LMHeadModel"): _gpt2,
}
