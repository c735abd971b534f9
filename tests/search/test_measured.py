from pathlib import Path

import pytest

from fewbits.search.measured import Bench
from fewbits.search.store import Store
from fewbits.search.trial import Trial
from tests import tiny
from tests.search.tiny import images, space, text


def bench(model: object = None, cache: Path | None = None) -> Bench:
    model = tiny.llama() if model is None else model
    return Bench(Trial(model, space(model)), text().choose, Store(cache))  # type: ignore[arg-type]


def test_the_original_loses_nothing_and_fewer_bits_more() -> None:
    one = bench()
    losses = [one.loss(one.trial.space.uniform(c)) for c in one.trial.space.candidates]
    assert losses[0] > losses[1] > losses[2] > 0 and abs(one.loss(one.trial.space.kept())) < 1e-6


def test_one_layer_changed_measures_as_the_whole_plan_does() -> None:
    """Blocks before the layer are not computed again."""
    one, other = bench(), bench()
    base = one.trial.space.uniform(one.trial.space.candidates[1])
    flips = [(u, 0) for u in range(len(base))]
    found = one.flips(base, flips)
    assert one._prefix._usable
    for unit, option in flips:
        changed = (*base[:unit], option, *base[unit + 1 :])
        assert found[unit, option] == pytest.approx(other.loss(changed), rel=1e-4)


def test_a_model_whose_blocks_are_not_a_plain_row_is_measured_too() -> None:
    model = tiny.mobilenet()
    one, other = (Bench(Trial(model, space(model)), images(32).choose, Store()) for _ in range(2))
    base = one.trial.space.kept()
    found = one.flips(base, [(0, 0), (5, 0), (len(base) - 1, 0)])
    for (unit, option), loss in found.items():
        assert loss == pytest.approx(other.loss((*base[:unit], option, *base[unit + 1 :])), rel=1e-4, abs=1e-8)


def test_the_standard_error_takes_windows_as_samples() -> None:
    one = bench()
    choice = one.trial.space.uniform(one.trial.space.candidates[0])
    found = one.measure(choice)
    one.trial.apply(choice)
    rows = one.trial.loss(one.objective).view(8, 31).double().mean(dim=1)
    assert found.mean == pytest.approx(rows.mean().item()) and found.se == pytest.approx(rows.std().item() / 8**0.5)


def test_what_is_stored_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = bench().trial.space.uniform("mse:uint2g32")
    first = bench(cache=tmp_path).loss(choice)
    monkeypatch.setattr(Trial, "loss", lambda *_: pytest.fail("measured again"))
    assert bench(cache=tmp_path).loss(choice) == first
