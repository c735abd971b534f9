"""The fused step is used for models of known classes that nothing was added to, and what is changed later is noticed."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from transformers.models.llama import modeling_llama

from fewbits.runtime import cpu, fused
from fewbits.runtime.cpu.decoder import CpuDecoder
from fewbits.runtime.decode import PlainDecoder, why_not_fused
from tests import tiny
from tests.runtime.changed import HOSTILE, decoder, llama, own_tokens, tokens, twice


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    with cpu.exact_activations():
        yield


@pytest.mark.parametrize("after", [False, True], ids=["before", "after a decoder was built"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_changed_model_is_refused_with_the_reason(name: str, after: bool) -> None:
    change, says = HOSTILE[name]
    model = llama()
    if after:
        assert isinstance(decoder(model), CpuDecoder)
    change(model)
    assert isinstance(decoder(model), PlainDecoder)
    with pytest.raises(fused.UnknownStructure, match=says):
        fused.known(model)
    assert why_not_fused(model)


@pytest.mark.parametrize("name", ["hook", "pre-hook", "patched MLP", "patched leaf", "LoRA", "parametrization", "subclass"])
def test_a_change_after_the_first_text_changes_the_next(name: str) -> None:
    model = llama()
    first = tokens(model)
    assert torch.equal(first, own_tokens(model))
    HOSTILE[name][0](model)
    assert torch.equal(tokens(model), own_tokens(model))
    assert not torch.equal(tokens(model), first)


def test_a_removed_hook_gives_the_fused_step_back() -> None:
    model = llama()
    handle = model.model.norm.register_forward_hook(twice)
    assert isinstance(decoder(model), PlainDecoder)
    handle.remove()
    assert isinstance(decoder(model), CpuDecoder)


def test_hooks_that_record_outputs_change_nothing() -> None:
    model = llama()
    model(tiny.tokens(1, 4), output_hidden_states=True)
    assert isinstance(decoder(model), CpuDecoder)


def test_a_hook_for_all_modules_is_noticed() -> None:
    model = llama()
    assert isinstance(decoder(model), CpuDecoder)
    handle = nn.modules.module.register_module_forward_hook(lambda module, args, out: out)
    try:
        assert isinstance(decoder(model), PlainDecoder)
        assert why_not_fused(model) == "a hook is registered for all modules"
    finally:
        handle.remove()
    assert isinstance(decoder(model), CpuDecoder)


def test_a_method_put_into_a_class_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = llama()
    inner = modeling_llama.LlamaMLP.forward
    monkeypatch.setattr(modeling_llama.LlamaMLP, "forward", lambda self, x: 2 * inner(self, x))
    assert isinstance(decoder(model), PlainDecoder)
    assert str(why_not_fused(model)).endswith("mlp has a patched forward")


def test_autocast_takes_the_models_own_step() -> None:
    model = llama()
    with torch.autocast("cpu", torch.bfloat16):
        assert isinstance(decoder(model), PlainDecoder)
    assert isinstance(decoder(model), CpuDecoder)


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("rope_interleaved", False, True),
        ("rope_interleaved", True, False),
        ("is_llama_config", True, True),
        ("pretraining_tp", 1, True),
        ("pretraining_tp", 2, False),
        ("unsloth_fixed", True, True),
        ("max_sequence_length", 2048, True),
        ("head_scale", None, True),
        ("head_scale", False, False),
        ("use_bidirectional_attention", True, False),
        ("embedding_multiplier", 2.0, False),
    ],
)
def test_settings_of_published_models_are_known_and_others_are_not(name: str, value: Any, known: bool) -> None:
    model = llama()
    vars(model.config)[name] = value
    assert isinstance(decoder(model), CpuDecoder) == known, why_not_fused(model)
