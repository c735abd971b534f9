"""Hooks and attributes of a layer after it was quantized."""

from typing import Any

import pytest
import torch
from torch import nn

import fewbits
from fewbits.errors import FewbitsError


def hooked(log: list[str]) -> tuple[nn.Sequential, list[Any]]:
    model = nn.Sequential(nn.Linear(64, 32))
    layer = model[0]

    def note(name: str, *, inner: bool = False) -> Any:
        def hook(module: nn.Module, *_: Any) -> None:
            log.append(f"{name} {type(module).__name__}")

        return hook

    handles = [
        layer.register_forward_pre_hook(note("before"), with_kwargs=True),
        layer.register_forward_hook(note("after"), always_call=True),
        layer.register_full_backward_pre_hook(note("backward before")),
        layer.register_full_backward_hook(note("backward")),
        layer.register_state_dict_pre_hook(note("state")),
        layer.register_state_dict_post_hook(note("state after")),
        layer.register_load_state_dict_pre_hook(note("load")),
        layer.register_load_state_dict_post_hook(note("load after")),
    ]
    return model, handles


NAMES = ["before", "after", "backward before", "backward", "state", "state after", "load", "load after"]


def use(model: nn.Module) -> None:
    model(torch.randn(2, 64, requires_grad=True)).sum().backward()
    model.load_state_dict(model.state_dict())


def test_hooks_are_kept_and_can_be_removed() -> None:
    log: list[str] = []
    model, handles = hooked(log)
    fewbits.quantize(model, "uint4g32")
    use(model)
    assert log == [f"{name} QuantizedLinear" for name in NAMES]
    log.clear()
    for handle in handles:
        handle.remove()
    use(model)
    assert log == []


def test_a_hook_that_changes_the_answer_does_so() -> None:
    model = nn.Sequential(nn.Linear(64, 32))
    model[0].register_forward_hook(lambda module, inputs, out: out * 0 + 5)
    fewbits.quantize(model, "uint4g32")
    assert torch.equal(model(torch.randn(2, 64)), torch.full((2, 32), 5.0))


@pytest.mark.parametrize("layer", [nn.Linear(64, 32), nn.Embedding(8, 64, padding_idx=3), nn.Conv2d(4, 8, 3)])
def test_attributes_and_flags_are_kept(layer: nn.Module) -> None:
    model = nn.Sequential(layer).eval()
    layer._is_hf_initialized = True  # type: ignore[assignment]
    layer.note = {"by": "a user"}  # type: ignore[assignment]
    if layer._parameters.get("bias") is not None:
        layer.bias.requires_grad_(False)  # type: ignore[union-attr]
    fewbits.quantize(model, {"0": "int8"})
    new = model[0]
    assert new is not layer and new._is_hf_initialized and new.note == {"by": "a user"} and not new.training
    assert new._parameters["bias"] is None or not new._parameters["bias"].requires_grad
    assert getattr(new, "padding_idx", 3) == 3


def test_a_patched_forward_is_refused_by_name() -> None:
    model = nn.Sequential(nn.Linear(64, 32))
    model[0].forward = lambda x: x  # type: ignore[method-assign]
    with pytest.raises(FewbitsError, match=r"layer 0: its forward was replaced.*--skip"):
        fewbits.quantize(model, "uint4g32")
