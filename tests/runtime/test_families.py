"""Every family that looks like a Llama: its greedy tokens are its own, whichever decoder is taken."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

import fewbits
from fewbits.runtime import cpu, structure, untouched
from fewbits.runtime.cpu.decoder import CpuDecoder, CpuStep, cached
from fewbits.runtime.decode import PlainDecoder, decoder_for, why_not_fused
from fewbits.runtime.sampling import Sampling
from fewbits.runtime.structure import recognise

SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "vocab_size": 200, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
GPT: dict[str, Any] = {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 64, "vocab_size": 200}
GPT |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3 |= {"original_max_position_embeddings": 16}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
HALF = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
LONG: dict[str, Any] = {"rope_type": "longrope", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
LONG |= {"short_factor": [1.0] * 8, "long_factor": [3.0] * 8}
MULTIPLIERS = ("attention_multiplier", "embedding_multiplier", "logits_scaling", "residual_multiplier")

TAKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama, biased and tied": ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    "llama, heads not of its width": ("llama", {"head_dim": 32}),
    "llama3": ("llama", {"rope_parameters": LLAMA3}),
    "yarn": ("llama", {"rope_parameters": YARN}),
    "linear": ("llama", {"rope_parameters": LINEAR}),
    "mistral": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {}),
    "phi3": ("phi3", {"sliding_window": None}),
    "starcoder2": ("starcoder2", {"sliding_window": None}),
    "granite": ("granite", {"attention_multiplier": 0.25}),
    "seed_oss": ("seed_oss", {}),
    "gpt2": ("gpt2", GPT),
    "gpt2, wider MLP": ("gpt2", GPT | {"n_inner": 96, "activation_function": "relu", "scale_attn_weights": False}),
}
WINDOWED = {
    "mistral": ("mistral", {"sliding_window": 16}),
    "ministral": ("ministral", {"sliding_window": 16}),
    "phi3": ("phi3", {"sliding_window": 16}),
    "qwen2": ("qwen2", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}),
}
LEFT: dict[str, tuple[str, dict[str, Any]]] = {
    "helium": ("helium", {}),
    "ernie4_5": ("ernie4_5", {}),
    "glm": ("glm", {}),
    "glm, all turned": ("glm", {"rope_parameters": HALF | {"partial_rotary_factor": 1.0}}),
    "smollm3": ("smollm3", {}),
    "ministral3": ("ministral3", {}),
    "cohere": ("cohere", {}),
    "stablelm": ("stablelm", {}),
    "gemma": ("gemma", {}),
    "qwen3": ("qwen3", {}),
    "olmo": ("olmo", {}),
    "arcee": ("arcee", {}),
    "gpt_bigcode": ("gpt_bigcode", GPT | {"multi_query": True}),
    "gpt_bigcode, all keys": ("gpt_bigcode", GPT | {"multi_query": False}),
    "gpt2, scaled by layer": ("gpt2", GPT | {"scale_attn_by_inverse_layer_idx": True}),
    "gpt2, erf": ("gpt2", GPT | {"activation_function": "gelu"}),
    "llama, erf": ("llama", {"hidden_act": "gelu"}),
    "dynamic": ("llama", {"rope_parameters": DYNAMIC}),
    "phi3, half": ("phi3", {"rope_parameters": HALF}),
    "phi3, longrope": ("phi3", {"rope_parameters": LONG, "original_max_position_embeddings": 16}),
    **{f"granite, {name}": ("granite", {name: 0.5}) for name in MULTIPLIERS[1:]},
}


def made(kind: str, changes: dict[str, Any]) -> Any:
    """A random model whose tokens depend on everything it computes."""
    if kind not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {kind}")
    sizes = {} if "n_embd" in changes else SIZES
    torch.manual_seed(0)
    with warnings.catch_warnings():  # of imports of old releases
        warnings.simplefilter("ignore")
        config = CONFIG_MAPPING[kind](**sizes | changes)
        model: Any = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(0.12 / max(float(p.std()), 1e-6)) if p.dim() > 1 else p.add_(torch.randn_like(p) * 0.1)
    return model


def prompt(length: int) -> Tensor:
    return torch.randint(3, 200, (1, length), generator=torch.Generator().manual_seed(length))


def greedy(model: Any, ids: Tensor, count: int) -> Tensor:
    """The model's own, without a cache; where two tokens are as good as each other, the test would be of rounding."""
    start = ids.shape[1]
    with torch.inference_mode():
        for _ in range(count):
            ids = torch.cat([ids, model(input_ids=ids, use_cache=False).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    return ids[:, start:]


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.parametrize("scheme", [None, "uint4g32"])
def test_logits_are_the_models_own_at_all_lengths(name: str, scheme: str | None) -> None:
    model = made(*TAKEN[name])
    if scheme:
        fewbits.quantize(model, {"lm_head": scheme, "*": scheme}, on_misfit="channel")
    ids = prompt(60)
    with torch.inference_mode(), cpu.exact_activations():
        for read in (1, 5, 40):  # 16 is the original context of those that are scaled
            assert isinstance(decoder_for(model, 1, read + 3, Sampling()), CpuDecoder), why_not_fused(model)
            step = CpuStep(recognise(model), model.config, 60)
            step.load_cache(cached(model(input_ids=ids[:, :read], use_cache=True)))
            own = model(input_ids=ids[:, : read + 3]).logits[0, read:]
            have = torch.cat([step(ids[0, at : at + 1], at) for at in range(read, read + 3)])
            assert float((have - own).norm() / own.norm()) < 1e-5


@pytest.mark.parametrize("name", WINDOWED)
def test_a_window_is_fused_while_the_sequence_fits(name: str) -> None:
    model = made(*WINDOWED[name])
    for length, kind in ((16, CpuDecoder), (17, PlainDecoder), (40, PlainDecoder)):
        ids, decoder = prompt(10), decoder_for(model, 1, length, Sampling())
        assert isinstance(decoder, kind)
        with cpu.exact_activations():
            have = torch.cat(list(decoder.tokens(ids, None, length - 10)), dim=1)
        assert torch.equal(have, greedy(model, ids, length - 10))


@pytest.mark.parametrize("name", LEFT)
def test_what_only_looks_like_a_llama_is_left_to_its_own_step(name: str) -> None:
    model = made(*LEFT[name])
    assert isinstance(decoder_for(model, 1, 20, Sampling()), PlainDecoder)
    reason = why_not_fused(model)
    assert reason and "\n" not in reason and reason != "no CUDA device"


@pytest.mark.parametrize("name", ["helium", "ernie4_5", "smollm3", "gpt_bigcode, all keys", "granite, residual_multiplier"])
def test_the_comparison_alone_finds_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for check in ("check_modules", "check_settings"):
        monkeypatch.setattr(untouched, check, lambda _: None)
    monkeypatch.setattr(structure, "_no_surprises", lambda _: None)
    model = made(*LEFT[name])
    assert isinstance(decoder_for(model, 1, 20, Sampling()), PlainDecoder)
    assert "differ from those of the model's own forward" in str(why_not_fused(model))
