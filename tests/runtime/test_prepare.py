"""What kernels made of a layer's weight is dropped when the stored tensors change; without a GPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import fewbits
from fewbits.runtime import prepare
from fewbits.runtime.dispatch import PREPARED
from fewbits.runtime.weight import repack


def repacked() -> Any:
    layer: Any = fewbits.quantize(nn.Sequential(nn.Linear(128, 64)), "uint4g64")[0]
    setattr(layer, PREPARED, repack(layer.quantized))
    setattr(layer, prepare._NOTED, prepare._versions(layer))
    return layer


def replaced(layer: Any) -> None:
    layer.register_buffer("codes", layer.codes.clone())


def in_place(layer: Any) -> None:
    layer.scale.add_(1)


def loaded(layer: Any) -> None:
    layer.load_state_dict({name: tensor.clone() for name, tensor in layer.state_dict().items()})


def filled(layer: Any) -> None:
    layer.fill(layer.scheme.quantize(torch.randn(64, 128)))


@pytest.mark.parametrize("change", [replaced, in_place, loaded, filled])
def test_changed_tensors_are_noticed(change: Callable[[Any], None]) -> None:
    layer = repacked()
    assert prepare.prepare(layer) is getattr(layer, PREPARED)
    change(layer)
    assert prepare.prepare(layer) is None  # it is not on a GPU
    assert not hasattr(layer, PREPARED)


def test_a_layer_whose_tensors_were_given_up_stays_as_it_is() -> None:
    layer = repacked()
    layer.register_buffer("codes", layer.codes.to("meta"))
    assert prepare.prepare(layer) is getattr(layer, PREPARED)


def test_a_weight_repacked_in_inference_mode_is_kept() -> None:
    with torch.inference_mode():
        layer = repacked()
    assert prepare.prepare(layer) is getattr(layer, PREPARED)
