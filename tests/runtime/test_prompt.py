"""A prompt read by few operators against the model's own forward."""

from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

import fewbits
from fewbits.runtime.cache import cache_of
from fewbits.runtime.prompt import PromptReader
from fewbits.runtime.structure import recognise

FREE: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None, "vocab_size": 300}
SMALL: dict[str, Any] = FREE | {"hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 2}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
MODELS: dict[str, Any] = {
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(
            **SMALL,
            num_attention_heads=6,
            num_key_value_heads=2,
            head_dim=32,
            rope_parameters=LLAMA3 | {"original_max_position_embeddings": 64},
        )
    ),
    "phi-3": lambda: Phi3ForCausalLM(
        Phi3Config(
            **SMALL,
            num_attention_heads=3,
            num_key_value_heads=3,
            rope_parameters={"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.75},
        )
    ),
    "gpt-2": lambda: GPT2LMHeadModel(GPT2Config(n_embd=96, n_layer=2, n_head=3, **FREE)),
}


@pytest.mark.parametrize(  # an unquantized Conv1D is not read so
    ("name", "quantized"), [("llama", False), ("llama", True), ("phi-3", False), ("phi-3", True), ("gpt-2", True)]
)
def test_logits_keys_and_values_are_the_models(name: str, quantized: bool) -> None:
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    if quantized:
        model = fewbits.quantize(model, "uint8g32")
    structure = recognise(model)
    ids = torch.randint(0, 300, (1, 70))
    turns = None
    if structure.rotary is not None:
        cos, sin = structure.rotary(torch.empty(0), torch.arange(128)[None])
        turns = cos[0], sin[0]
    with torch.inference_mode():
        want = model(ids, use_cache=True)
        have = PromptReader(structure, turns, 128).read(ids)
    assert torch.allclose(have.logits, want.logits[:, -1], atol=1e-4)
    for i, layer in enumerate(cache_of(want).layers):
        assert torch.allclose(have.keys[i], layer.keys[0], atol=1e-4)
        assert torch.allclose(have.values[i], layer.values[0], atol=1e-4)
