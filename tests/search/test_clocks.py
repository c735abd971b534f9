from pathlib import Path

import pytest
import torch

from fewbits.errors import FewbitsError
from fewbits.search import clocks
from fewbits.search.clocks import Stopwatch
from fewbits.search.store import Store
from fewbits.search.trial import Trial
from tests import tiny
from tests.search.tiny import space

pytestmark = pytest.mark.usefixtures("short")


def stopwatch(
    model: torch.nn.Module, images: torch.Tensor | None = None, cache: Path | None = None, batch: int = 1
) -> Stopwatch:
    return Stopwatch(Trial(model, space(model)), Store(cache), batch=batch, images=images)


def test_every_layer_and_option_has_a_time_and_the_original_adds_up() -> None:
    watch = stopwatch(tiny.llama(), batch=2)
    clock = watch.clock("decode_speed")
    units = watch.trial.space.units
    assert [len(row) for row in clock.table] == [len(unit.options) for unit in units]
    assert all(seconds > 0 for row in clock.table for seconds in row) and clock.items == 2
    assert clock.seconds(watch.trial.space.kept()) == pytest.approx(clock.original)


def test_layers_of_one_shape_are_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []
    real = clocks.time_layer
    monkeypatch.setattr(clocks, "time_layer", lambda *a: timed.append(a[:2]) or real(*a))
    stopwatch(tiny.llama()).clock("decode_speed")
    assert sorted(timed) == sorted({(64, 64), (32, 64), (96, 64), (64, 96)})


def test_convolutions_are_timed_on_what_they_get() -> None:
    watch = stopwatch(tiny.cnn(), tiny.images(16, 4), batch=4)
    clock = watch.clock("latency")
    assert all(seconds > 0 for row in clock.table for seconds in row)
    measured = watch.measure("latency", watch.trial.space.uniform("rtn:uint8g32"))
    assert measured.value > 0 and "2 models in turn" in (measured.protocol or "")


def test_a_table_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = stopwatch(tiny.gpt2(), cache=tmp_path).clock("decode_speed")
    monkeypatch.setattr(clocks, "time_layer", lambda *_: pytest.fail("timed again"))
    assert stopwatch(tiny.gpt2(), cache=tmp_path).clock("decode_speed") == first


def test_what_cannot_be_timed() -> None:
    with pytest.raises(FewbitsError, match="writes no text"):
        stopwatch(tiny.cnn()).clock("decode_speed")
    with pytest.raises(FewbitsError, match="data that are tensors"):
        stopwatch(tiny.cnn()).clock("latency")
