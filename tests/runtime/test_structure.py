"""Models recognised by what they are made of, and refused with a reason where the fused step would compute something else."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import GemmaConfig, GemmaForCausalLM

import fewbits
from fewbits.runtime.structure import ACTIVATIONS, UnknownStructure, recognise
from tests import tiny

SILU, GELU_TANH = range(2)


def test_a_llama_has_its_parts() -> None:
    model: Any = tiny.llama()
    found = recognise(model)
    block, layer = found.blocks[1], model.model.layers[1]
    assert [r.layer for r in block.qkv] == [layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj]
    assert block.gate is not None
    assert (block.gate.layer, block.up.layer, block.down.layer) == (layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj)
    assert (found.heads, found.kv_heads, found.head_dim, found.hidden) == (4, 2, 16, 64)
    assert (found.layer_norm, found.activation, found.positions) == (False, SILU, None)
    assert found.eps == model.config.rms_norm_eps
    assert block.scaling == 0.25
    assert found.vocabulary == tiny.VOCABULARY


def test_phi_3s_merged_layers_are_parted() -> None:
    model: Any = tiny.phi3()
    block, layer = recognise(model).blocks[0], model.model.layers[0]
    assert [(r.layer, r.first, r.count) for r in block.qkv] == [(layer.self_attn.qkv_proj, 0, 128)]
    assert block.gate is not None
    assert (block.gate.first, block.gate.count) == (0, 96)
    assert (block.up.first, block.up.count) == (96, 96)
    assert block.gate.layer is block.up.layer is layer.mlp.gate_up_proj


def test_gpt_2_has_positions_layer_norms_and_no_gate() -> None:
    model: Any = fewbits.quantize(tiny.gpt2(), "int8")
    found = recognise(model)
    assert found.positions is model.transformer.wpe
    assert found.rotary is None
    assert (found.layer_norm, found.activation) == (True, GELU_TANH)
    assert found.blocks[0].gate is None
    assert found.blocks[0].up.count == 256


def test_quantizing_changes_no_structure() -> None:
    plain, quantized = recognise(tiny.llama()), recognise(fewbits.quantize(tiny.llama(), "uint4g32"))
    assert [r.count for b in plain.blocks for r in b.qkv] == [r.count for b in quantized.blocks for r in b.qkv]
    assert plain.vocabulary == quantized.vocabulary


def _gemma() -> nn.Module:
    sizes: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "vocab_size": 32}
    return GemmaForCausalLM(GemmaConfig(**sizes, num_attention_heads=2, num_key_value_heads=1, head_dim=32))


def _llama(change: Callable[[Any], None]) -> nn.Module:
    model = tiny.llama()
    change(model)
    return model


def _more(model: Any) -> None:
    model.model.layers[0].add_module("adapter", nn.Linear(4, 4))


def _softcapped(model: Any) -> None:
    model.config.final_logit_softcapping = 30.0


def _mish(model: Any) -> None:
    model.model.layers[0].mlp.act_fn = nn.Mish()


def _dynamic(model: Any) -> None:
    model.config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0}


def _dynamic_module(model: Any) -> None:
    model.model.rotary_emb.rope_type = "dynamic"


def _other_norm(model: Any) -> None:
    model.model.norm = nn.LayerNorm(64)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_gemma, "neither RMSNorm nor LayerNorm"),
        (lambda: _llama(_more), "a layer also has adapter"),
        (lambda: _llama(_softcapped), "final_logit_softcapping"),
        (lambda: _llama(_mish), "activation"),
        (lambda: _llama(_dynamic), "depends on the length"),
        (lambda: _llama(_dynamic_module), "depends on the length"),
        (lambda: _llama(_other_norm), "differ from layer to layer"),
        (tiny.vit, "a layer also has attention|no list of layers"),
    ],
)
def test_others_are_refused_with_the_reason(make: Callable[[], nn.Module], says: str) -> None:
    with pytest.raises(UnknownStructure, match=says):
        recognise(make())


def test_activations_are_told_apart() -> None:
    x = torch.linspace(-4, 4, 33)
    values = [function(x) for function in ACTIVATIONS]
    assert all(not torch.allclose(a, b, atol=1e-3) for i, a in enumerate(values) for b in values[:i])
