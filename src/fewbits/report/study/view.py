"""The rows of one model of a study, as charts and sentences ask for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fewbits.measure.result import Measure
from fewbits.report.page import Number
from fewbits.report.quantities import QUALITY, Quantity, quantity
from fewbits.study.results import RowResult, Sensitivity, StudyResults, Weights

CLOSE = 0.01  # of the original's perplexity, or of accuracy (a point): what "keeps the quality" means here


@dataclass(frozen=True, kw_only=True)
class View:
    """One model: its rows in the order of the file, and what is known of its layers."""

    model: str
    rows: Sequence[RowResult]
    sensitivities: Sequence[Sensitivity] = ()
    weights: Sequence[Weights] = ()

    @property
    def name(self) -> str:
        """The model as it is called on the page: of a path its last part, a hub id whole."""
        return Path(self.model).name if self.model.startswith((".", "/", "~")) else self.model

    @cached_property
    def original(self) -> RowResult | None:
        return next((row for row in self.rows if row.original and row.error is None), None)

    @cached_property
    def made(self) -> list[RowResult]:
        """The rows that are measured, without the original."""
        return [row for row in self.rows if row.error is None and not row.original]

    @cached_property
    def qualities(self) -> list[Quantity]:
        """The measures of quality that two rows at least have."""
        return [quantity(name) for name in QUALITY if sum(name in row.measures for row in self.made) > 1]

    @cached_property
    def main(self) -> Quantity | None:
        """The quality that is told of first."""
        return self.qualities[0] if self.qualities else None

    def value(self, row: RowResult | None, what: Quantity) -> Number | None:
        """A measure of a row in the unit in which it is shown."""
        return None if row is None else what.shown(row.measures.get(what.name))

    def have(self, *names: str) -> list[RowResult]:
        """The measured rows, the original not among them, that have all these measures."""
        return [row for row in self.made if all(name in row.measures for name in names)]

    def keeps(self, row: RowResult) -> bool | None:
        """Whether a row keeps the quality, within `CLOSE`; None where that is not known."""
        what = self.main
        if what is None or self.original is None or what.name not in ("ppl", "accuracy"):
            return None
        before, after = self.original.measures.get(what.name), row.measures.get(what.name)
        if before is None or after is None:
            return None
        return _close(what.name, before, after)


def views(results: StudyResults) -> list[View]:
    """A view a model, in the order of the study."""
    models = list(dict.fromkeys(row.model for row in results.rows))
    return [
        View(
            model=model,
            rows=[row for row in results.rows if row.model == model],
            sensitivities=[one for one in results.sensitivities if one.model == model],
            weights=[one for one in results.weights if one.model == model],
        )
        for model in models
    ]


def _close(name: str, before: Measure, after: Measure) -> bool:
    if name == "ppl":
        return (
            abs(after.value - before.value) <= CLOSE * before.value
        )  # below it too: a chance gain of 5 % tells nothing of quality
    return after.value >= before.value - CLOSE


def called(row: RowResult) -> str:
    """A row in a sentence: a scheme as code, a name of words in quotes."""
    return f"'{row.label}'" if " " in row.label else f"`{row.label}`"


def size_of(row: RowResult) -> Number | None:
    """Bytes."""
    measure = row.measures.get("size")
    return None if measure is None else float(measure.value)
