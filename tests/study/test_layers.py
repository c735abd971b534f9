"""Layers that cannot take a scheme as it is say which one they took."""

from pathlib import Path

import pytest

from fewbits.evaluate.settings import Settings
from fewbits.report.study.layers import loss_alone, weights_by_layer
from fewbits.study import layers
from fewbits.study.items import load
from fewbits.study.results import Sensitivity, Weights, other_schemes
from tests.study import folders


@pytest.mark.parametrize(("scheme", "changed"), [("rtn:uint3g48", True), ("rtn:uint3g16", False)])
def test_the_scheme_that_a_layer_took_is_named(scheme: str, changed: bool, tmp_path: Path) -> None:
    folders.write(tmp_path)
    settings = Settings(images=str(tmp_path / "images.npz"))
    loaded = load(str(tmp_path / "model"), settings)
    weights = layers.weights(loaded.model, scheme)
    losses, _ = layers.losses(loaded, scheme, settings, None)
    for found in (weights, losses):
        count = sum(layer.scheme == "rtn:uint3" for layer in found)
        assert {layer.scheme for layer in found} <= {"rtn:uint3", ""} and bool(count) == changed
        told = other_schemes(scheme, found)
        assert (f"{count} of {len(found)} layers took rtn:uint3 in place of {scheme}" in told) == changed
    one = loss_alone(Sensitivity(key="k", model="m", scheme=scheme, layers=losses))
    two = weights_by_layer(Weights(key="k", model="m", scheme=scheme, layers=weights))[0]
    assert one is not None and all(("in place of" in figure.note) == changed for figure in (one, two))
