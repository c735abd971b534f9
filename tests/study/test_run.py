import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fewbits.errors import FewbitsError
from fewbits.study import executors, saved
from fewbits.study import plain as plain_data
from fewbits.study.items import Item
from fewbits.study.results import StudyResults
from fewbits.study.run import look, run
from fewbits.study.spec import Spec
from tests.study import folders

ROWS = 9


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def spec(place: Path) -> Spec:
    return folders.spec(place)


@pytest.fixture(scope="module")
def undisturbed(spec: Spec, place: Path) -> StudyResults:
    return run(spec, place / "undisturbed")


def plain(found: StudyResults) -> Any:
    return folders.untimed(json.loads(json.dumps(plain_data.to_dict(found))))


def test_rows_in_the_order_of_the_file(undisturbed: StudyResults) -> None:
    rows = undisturbed.rows
    assert [row.label for row in rows][:3] == ["as it is", "rtn:uint8", "rtn:uint4"]
    assert len(rows) == ROWS and undisturbed.missing == 0
    assert undisturbed.columns == ("size", "accuracy", "kl", "latency")
    original, eight, four = rows[:3]
    assert original.original and "kl" not in original.measures
    assert original.measures["size"].value > eight.measures["size"].value > four.measures["size"].value
    assert eight.measures["kl"].value < four.measures["kl"].value
    assert set(eight.beside) == {"latency"} and eight.coverage > 0.9
    mib = four.measures["size"].value / 2**20
    assert four.scores == {"score": pytest.approx(100 * four.measures["accuracy"].value - mib)}


def test_layers_are_told(undisturbed: StudyResults) -> None:
    eight, four = undisturbed.rows[1:3]
    names = [layer.name for layer in eight.layers]
    assert len(names) == 13 and all(a.error < b.error for a, b in zip(eight.layers, four.layers, strict=True))
    (alone,) = undisturbed.sensitivities
    assert [layer.name for layer in alone.layers] == names and max(layer.loss for layer in alone.layers) > 0
    (lie,) = undisturbed.weights
    assert [sum(layer.counts) for layer in lie.layers] == [layer.params for layer in lie.layers]
    assert all(len(layer.grid) == 8 and layer.grid[0] < 0 < layer.grid[-1] and layer.outside == 0 for layer in lie.layers)


def test_a_row_that_fails_is_told_in_its_place(undisturbed: StudyResults) -> None:
    failed = undisturbed.rows[7]
    assert failed.label == "groups that do not divide" and failed.error is not None
    assert "48" in failed.error and failed.measures == {} and undisturbed.rows[8].error is None


def test_one_plan_is_measured_once_under_two_names(undisturbed: StudyResults) -> None:
    four, again = undisturbed.rows[2], undisturbed.rows[8]
    assert four.key == again.key and four.measures == again.measures and again.label.startswith("a second name")


def test_what_is_done_is_not_done_again(spec: Spec, place: Path, undisturbed: StudyResults) -> None:
    told: list[str] = []
    again = run(spec, place / "undisturbed", tell=told.append)
    assert again == replace(undisturbed, machine=again.machine)
    assert told[0].startswith("1 to do, 10 are done already")  # the row that failed is tried again
    assert saved.load(place / "undisturbed") == again


def test_only_and_force(spec: Spec, tmp_path: Path) -> None:
    found = run(spec, tmp_path / "d", only="*uint8")
    assert [row.label for row in found.rows] == ["rtn:uint8", "groups that do not divide"] and found.missing > 5
    done = [todo.item.label for todo in look(spec, tmp_path / "d") if todo.done]
    assert done == ["rtn:uint8"]
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "d" / "items").iterdir()}
    run(spec, tmp_path / "d", only="*uint8", force=True)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "d" / "items").iterdir()}
    assert before.keys() == after.keys() and before != after
    with pytest.raises(FewbitsError, match="matches none of as it is"):
        run(spec, tmp_path / "d", only="nothing")


def test_a_key_follows_what_made_the_item(spec: Spec, place: Path, tmp_path: Path) -> None:
    def keys(changed: Spec) -> list[str]:
        return [todo.item.key for todo in look(changed, tmp_path)]

    base = keys(spec)
    assert keys(replace(spec, title="another", scores=())) == base
    settings = spec.settings
    for other in (
        replace(spec, settings=replace(settings, max_images=20)),
        replace(spec, settings=replace(settings, repeats=2)),
        replace(spec, settings=replace(settings, measures=("size", "accuracy"))),
    ):
        assert set(keys(other)[:ROWS]).isdisjoint(base)
    moved = place / "moved.npz"
    moved.write_bytes((place / "images.npz").read_bytes())
    assert keys(replace(spec, settings=replace(settings, images=str(moved)))) == base


def test_models_and_data_that_are_missing_are_named_with_their_line(spec: Spec, tmp_path: Path) -> None:
    with pytest.raises(FewbitsError, match=r"study.yaml, line 3, 'images': .*nowhere.npz"):
        run(replace(spec, settings=replace(spec.settings, images="nowhere.npz")), tmp_path / "d")
    with pytest.raises(FewbitsError, match=r"study.yaml, line 2, 'model': .*nowhere"):
        run(replace(spec, models=("./nowhere",)), tmp_path / "d")


def test_a_folder_of_something_else_is_left_alone(spec: Spec, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(FewbitsError, match="holds something that is no study"):
        run(spec, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_damaged_item_is_done_again(spec: Spec, tmp_path: Path, undisturbed: StudyResults) -> None:
    run(spec, tmp_path / "d", only="*uint8")
    for path in (tmp_path / "d" / "items").iterdir():
        path.write_text(path.read_text()[:100])
    found = run(spec, tmp_path / "d", only="*uint8")
    assert found.rows[0].measures["kl"] == undisturbed.rows[1].measures["kl"]


def test_any_exception_of_a_row_is_told_and_kept(spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fewbits.study import work

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug\nof two lines")

    monkeypatch.setattr(work, "quantize", broken)
    found = run(spec, tmp_path / "d", only="*uint8")
    error = found.rows[0].error or ""
    assert error.startswith("RuntimeError: a bug of two lines (more in ") and "\n" not in error
    assert "in broken" in next((tmp_path / "d" / "failed").iterdir()).read_text()


def test_several_processes_give_the_same(spec: Spec, tmp_path: Path, undisturbed: StudyResults) -> None:
    told: list[str] = []
    found = run(spec, tmp_path / "d", execute=executors.processes(2, 1), workers=2, tell=told.append)
    assert plain(found) == plain(undisturbed)
    assert told[1].startswith("timings are taken beside those of other workers")


def test_an_item_whose_process_dies_is_done_once_more_then_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "_pool", _dying_pool)
    items = [_item("a"), _item("kills"), _item("b"), _item("kills once")]
    done = {item.label: outcome.error for item, outcome in executors.processes(2, 1)(items, lambda key: tmp_path / key)}
    assert done == {"a": None, "b": None, "kills once": None, "kills": executors.DIED}


def _item(label: str) -> Item:
    from fewbits.evaluate.settings import Settings

    return Item(kind="row", key=label, model="m", source="m", label=label, settings=Settings())


_killed: set[str] = set()


def _dying_pool(items: Sequence[Item], folder: object, workers: int, threads: int) -> Any:
    """A pool in which some items take their process along."""
    rest = list(items)
    while rest:
        item = rest.pop(0)
        if item.label == "kills" or (item.label == "kills once" and item.label not in _killed):
            _killed.add(item.label)
            return rest, [item]
        yield item, executors.Outcome(key=item.key, made={})
    return [], []


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_goes_on_to_the_same_results(
    spec: Spec, place: Path, tmp_path: Path, undisturbed: StudyResults, kills: int
) -> None:
    """Moments are spread over the length of an undisturbed run, or a part of it, so that some work is left for the last."""
    start = time.perf_counter()
    run(spec, tmp_path / "length")
    most = (time.perf_counter() - start) / min(kills, 5)
    command = [sys.executable, "-m", "tests.study.killing", place / "study.yaml", tmp_path / "d", str(kills), str(most)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout.split()[-1]) >= 1, "no process was killed before its end"
    assert plain(saved.load(tmp_path / "d")) == plain(undisturbed)
