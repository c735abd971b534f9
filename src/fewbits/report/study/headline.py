"""The headline figures of a study: of the first model that has an original."""

from fewbits.report.cells import MIB, TIMES, short
from fewbits.report.page import Tile
from fewbits.report.quantities import SPEED, quantity
from fewbits.report.study.costs import times_as_fast
from fewbits.report.study.view import View, called, size_of
from fewbits.study.results import StudyResults


def tiles(results: StudyResults, views: list[View]) -> list[Tile]:
    """What one looks for first: the original, the smallest that keeps its quality, the fastest, the best score."""
    view = next((v for v in views if v.original is not None), views[0] if views else None)
    if view is None:
        return []
    found = [_original(view), _smallest(view), _fastest(view), _score(results, view), _rows(results)]
    return [tile for tile in found if tile is not None]


def _original(view: View) -> Tile | None:
    size = size_of(view.original) if view.original else None
    if size is None:
        return None
    quality = view.value(view.original, view.main) if view.main else None
    told = f", {view.main.head} {short(quality)}{_unit(view.main.unit)}" if view.main and quality else ""
    return Tile(label="As it is", value=f"{short(size / MIB)} MiB", note=f"{view.name}{told}")


def _smallest(view: View) -> Tile | None:
    kept = sorted((row for row in view.have("size") if view.keeps(row)), key=lambda row: size_of(row) or 0)
    before = size_of(view.original) if view.original else None
    if not kept or view.main is None or before is None:
        return None
    row = kept[0]
    value = short(view.value(row, view.main) or 0)
    limit = "1 %" if view.main.name == "ppl" else "1 point"
    return Tile(
        label=f"Smaller, within {limit}",
        value=f"{before / (size_of(row) or 1):.2f} {TIMES}",
        note=f"{called(row)}: {short((size_of(row) or 0) / MIB)} MiB, {view.main.head} {value}{_unit(view.main.unit)}",
    )


def _fastest(view: View) -> Tile | None:
    for name in SPEED:
        what = quantity(name)
        ratios = [(ratio, row) for row in view.have(name) if (ratio := times_as_fast(view, row, what)) is not None]
        if ratios:
            ratio, row = max(ratios, key=lambda each: each[0])
            value = short(view.value(row, what) or 0)
            return Tile(
                label="As fast, at most", value=f"{ratio:.2f} {TIMES}", note=f"{called(row)}: {what.head} {value} {what.unit}"
            )
    return None


def _score(results: StudyResults, view: View) -> Tile | None:
    for score in results.scores:
        numbers = [
            (value, row)
            for row in view.rows
            if isinstance(value := row.scores.get(score.name), int | float) and not isinstance(value, bool)
        ]
        if numbers:
            value, row = max(numbers, key=lambda each: each[0])
            return Tile(label=f"Best {score.name}", value=f"{value:.3f}", note=f"{called(row)}")
    return None


def _rows(results: StudyResults) -> Tile:
    failed = sum(row.error is not None for row in results.rows)
    notes = [f"{failed} could not be measured"] if failed else []
    notes += [f"{results.missing} still to run"] if results.missing else []
    peers = sum(row.peer is not None and row.error is None for row in results.rows)
    notes += [f"{peers} by other libraries"] if peers else []
    return Tile(label="Rows measured", value=str(len(results.rows) - failed), note=", ".join(notes))


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""
