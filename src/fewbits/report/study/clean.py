"""Results fit for a page: texts, which come from users, files and other libraries; and figures, for charts."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from fewbits.errors import printable
from fewbits.measure.result import Measure
from fewbits.study.results import StudyResults

LONGEST = 2_000  # characters of a text
SMALLEST, LARGEST = 1e-30, 1e30  # of a figure in a chart


def printable_results(results: StudyResults) -> StudyResults:
    """The same results, control characters escaped; the study's file and the command keep their lines."""
    made: StudyResults = _clean(results)
    return replace(made, text=_lines(results.text), command=_lines(results.command))


def drawable(results: StudyResults) -> StudyResults:
    """The same results without the figures that no chart can show; the tables have them."""
    rows = tuple(
        replace(
            row,
            measures=_drawable(row.measures),
            beside=_drawable(row.beside),
            layers=tuple(layer for layer in row.layers if _fits(layer.error)),
        )
        for row in results.rows
    )
    alone = tuple(replace(one, layers=tuple(x for x in one.layers if _fits(x.loss))) for one in results.sensitivities)
    weights = tuple(
        replace(
            one,
            layers=tuple(x for x in one.layers if all(map(_fits, (x.high, x.std, x.kurtosis, x.outside, *map(abs, x.grid))))),
        )
        for one in results.weights
    )
    return replace(results, rows=rows, sensitivities=alone, weights=weights)


def _drawable(measures: Mapping[str, Measure]) -> dict[str, Measure]:
    return {
        name: replace(measure, se=measure.se if measure.se is None or _fits(measure.se) else None)
        for name, measure in measures.items()
        if _fits(measure.value)
    }


def _fits(value: int | float) -> bool:
    """Whether a linear and a logarithmic axis can show a figure; none of ours is negative."""
    return value == 0 or SMALLEST < value < LARGEST


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value, LONGEST)
    if isinstance(value, tuple | list):
        return type(value)(_clean(each) for each in value)
    if isinstance(value, Mapping):
        return {_clean(key): _clean(each) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type) and type(value).__module__.startswith("fewbits.study"):
        return replace(value, **{f.name: _clean(getattr(value, f.name)) for f in fields(value)})
    return value


def _lines(text: str) -> str:
    return "\n".join(printable(line, 10 * LONGEST) for line in text.split("\n"))
