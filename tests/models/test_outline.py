"""The outline of a model is transformers' own, told apart by nothing that a size looks at."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
)

from fewbits.apply import resolve
from fewbits.measure.size import size, skeleton
from fewbits.measure.stored import stored_tensors
from fewbits.models.outline import outline_of
from fewbits.plan import Plan

WIDE: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 80,
}  # fmt: skip
CONFIGS = {
    "llama": LlamaConfig(**WIDE, num_key_value_heads=2, tie_word_embeddings=True, dtype="bfloat16"),
    "llama with biases": LlamaConfig(**WIDE, attention_bias=True, mlp_bias=True, head_dim=8, tie_word_embeddings=False),
    "mistral": MistralConfig(**WIDE, num_key_value_heads=1, head_dim=32),
    "qwen2": Qwen2Config(**WIDE, num_key_value_heads=2, tie_word_embeddings=True, dtype="float16"),
    "phi3": Phi3Config(**WIDE, num_key_value_heads=2, pad_token_id=0),
    "gpt2": GPT2Config(n_embd=64, n_layer=2, n_head=2, vocab_size=90, n_positions=32, n_inner=100),
    "gpt2 with a head of its own": GPT2Config(n_embd=64, n_layer=1, n_head=2, vocab_size=90, tie_word_embeddings=False),
}


def by_transformers(config: PreTrainedConfig) -> nn.Module:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=config.dtype or torch.float32)
    model.tie_weights()
    return model.eval()


def as_stored(config: PreTrainedConfig, model: nn.Module, folder: Path) -> dict[str, Any]:
    """What config.json says."""
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    return json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize("name", CONFIGS)
def test_what_it_stores_is_what_transformers_model_stores(name: str, tmp_path: Path) -> None:
    model = by_transformers(CONFIGS[name])
    outline = outline_of(as_stored(CONFIGS[name], model, tmp_path))
    assert outline is not None
    assert {t.name: t for t in stored_tensors(outline)} == {t.name: t for t in stored_tensors(model)}
    ours, theirs = size(outline), size(model)
    assert ours.value == theirs.value
    assert ours.parts == theirs.parts


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("rules", ["rtn:uint4g16", {"*attn*": "int8", "*": "keep"}, {"lm_head": "int8", "*": "nf4g16/q8"}])
def test_plans_decide_the_same(name: str, rules: Any, tmp_path: Path) -> None:
    model = by_transformers(CONFIGS[name])
    outline = outline_of(as_stored(CONFIGS[name], model, tmp_path))
    assert outline is not None
    plan = Plan.of(rules, on_misfit="keep")
    ours, theirs = (resolve(skeleton(m), plan) for m in (outline, model))
    assert sorted(ours.decisions, key=lambda d: d.name) == sorted(theirs.decisions, key=lambda d: d.name)
    assert ours.coverage == theirs.coverage


@pytest.mark.parametrize(
    "change",
    [
        {"architectures": ["LlamaForSequenceClassification"]},
        {"model_type": "unheard-of"},
        {"hidden_size": None},
        {"hidden_size": "many"},
        {"vocab_size": -4},
        {"dtype": "float64"},
        {"quantization_config": {"quant_method": "gptq"}},
        {"auto_map": {"AutoModelForCausalLM": "code.Model"}},
    ],
)
def test_what_is_not_certain_is_left_to_transformers(change: dict[str, Any], tmp_path: Path) -> None:
    config = as_stored(CONFIGS["llama"], by_transformers(CONFIGS["llama"]), tmp_path)
    assert outline_of(config) is not None
    assert outline_of(config | change) is None
