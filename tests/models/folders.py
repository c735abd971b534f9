"""Tiny models with random weights, saved as folders."""

import json
from pathlib import Path
from typing import Any

from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    ViTConfig,
    ViTForImageClassification,
)

from fewbits.models.quiet import quietly


def tiny_llama(**settings: Any) -> LlamaForCausalLM:
    """Two layers of 32; its head is tied unless the settings say otherwise."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 64}
    return LlamaForCausalLM(LlamaConfig(**{**sizes, "num_key_value_heads": 2, "tie_word_embeddings": True, **settings}))


def tiny_gpt2() -> GPT2LMHeadModel:
    return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=64, n_positions=32))


def tiny_vit(**settings: Any) -> ViTForImageClassification:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8}
    return ViTForImageClassification(ViTConfig(**{**sizes, "patch_size": 4, "num_labels": 3, **settings}))


def saved(model: PreTrainedModel, folder: Path, **options: Any) -> Path:
    """The folder, with the model in it as transformers saves it."""
    with quietly():
        model.save_pretrained(folder, **options)
    return folder


def edit(folder: Path, **changes: Any) -> Path:
    """Change entries of a folder's config.json; None takes one out."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
    return folder
