"""A model's layers: what is counted, and from which batch on it is not faster."""

from pathlib import Path

import pytest

from fewbits.doctor.examine import BATCHES, Settings, _slower_from, examine
from fewbits.doctor.layers import FLOAT, LayerTime
from fewbits.doctor.limits import measure_limits
from fewbits.errors import FewbitsError
from tests.measure.tiny import tiny_llama


def times(format: str, seconds: list[float]) -> list[LayerTime]:
    common = {"format": format, "nbytes": 1, "kernel": True}
    shapes = {(layer.out_features, layer.in_features) for layer in linears()}
    return [
        LayerTime(rows=r, cols=c, batch=b, seconds=s, **common)
        for b, s in zip(BATCHES, seconds, strict=True)
        for r, c in shapes
    ]


def linears() -> list:
    from torch import nn

    return [m for m in tiny_llama(intermediate_size=64).modules() if isinstance(m, nn.Linear)]


def test_the_least_batch_that_is_not_faster() -> None:
    model = tiny_llama(intermediate_size=64)
    formats = {n: "int8" for n, m in model.named_modules() if hasattr(m, "in_features")}
    plain = times(FLOAT, [10.0, 10.0, 10.0, 10.0, 10.0])
    assert _slower_from(model, formats, plain + times("int8", [1.0, 2.0, 10.0, 9.0, 20.0])) == 16
    assert _slower_from(model, formats, plain + times("int8", [1.0, 2.0, 3.0, 4.0, 5.0])) is None
    assert _slower_from(model, formats, plain + times("int8", [11.0, 2.0, 3.0, 4.0, 5.0])) == 1


def test_layers_of_a_configuration(tmp_path: Path) -> None:
    tiny_llama(intermediate_size=64).config.save_pretrained(tmp_path)
    found = examine(str(tmp_path), measure_limits(), Settings(schemes=("uint4g32", "keep"), repeats=1))
    assert sum(found.shapes.values()) == len(linears())
    assert len(found.slower_from) == len(found.plans) == 2 and len(found.predictions) == 3
    assert found.slower_from[1] == 1  # all is kept: it is not faster
    assert {t.format for t in found.times} == {FLOAT, "uint4g32"}


def test_a_model_that_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(FewbitsError, match="nowhere"):
        examine(str(tmp_path / "nowhere"), measure_limits(), Settings())
