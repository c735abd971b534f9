"""The table of one model: a line a row, measured beside reported, the best marked, failures in their place."""

from collections.abc import Sequence
from dataclasses import dataclass

from fewbits.report.cells import NONE, TIMES, number
from fewbits.report.page import Best, Cell, Column, Line, Number, Table
from fewbits.report.quantities import SPEED, Quantity, quantity
from fewbits.report.study.view import View
from fewbits.study.results import RowResult, Score, StudyResults


@dataclass(frozen=True, kw_only=True)
class _Told:
    """A column of figures that others reported."""

    measure: str
    unit: str
    where: str

    def column(self) -> Column:
        where = f", {self.where}" if self.where else ""
        unit = f"{TIMES} original" if self.unit == "x" else self.unit
        return Column(head=f"{quantity(self.measure).head} reported{where}", unit=unit)

    def cell(self, row: RowResult) -> Cell:
        """As they wrote it: not a digit more."""
        for each in row.reported:
            if (each.measure, each.unit, each.where) == (self.measure, self.unit, self.where):
                return Cell(text=f"{each.value:,}")
        return NONE


def results_table(view: View, results: StudyResults) -> Table:
    """All rows of a model. What is marked is the best of ours and the peers' (not of the original), in each column."""
    wanted = _measures(view, results)
    told = _told(view)
    bits = any(_bits(row) is not None for row in view.rows)
    columns: list[Column] = [Column(head="row")]
    if bits:
        columns.append(Column(head="bits a weight", best="low"))
    for what in wanted:
        columns += [what.column, *_multiple_column(view, what), *(t.column() for t in told if t.measure == what.name)]
    loose = [t for t in told if t.measure not in {what.name for what in wanted}]
    columns += [*(t.column() for t in loose), *(Column(head=score.name, best=_best(view, score)) for score in results.scores)]
    lines = []
    for row in view.rows:
        cells: list[Cell] = [Cell(text=row.label)]
        if row.error is None:
            cells += [number(_bits(row), 3)] if bits else []
            for what in wanted:
                measure = row.measures.get(what.name)
                multiple = [_multiple(row, what)] if _multiple_column(view, what) else []
                cells += [what.cell(measure), *multiple, *(t.cell(row) for t in told if t.measure == what.name)]
            cells += [*(t.cell(row) for t in loose), *(_score(row, score) for score in results.scores)]
        kind = "failed" if row.error else "original" if row.original else "peer" if row.peer else ""
        lines.append(Line(cells=cells, kind=kind, reason=row.error or ""))
    return Table(columns=columns, rows=lines, caption=view.name, note=_note(view, results, bool(told)))


def _measures(view: View, results: StudyResults) -> list[Quantity]:
    """The measures in the order of the study's file, then what else was taken, without those that no row has."""
    names = list(dict.fromkeys([*results.columns, *(name for row in view.rows for name in row.measures)]))
    units = {name: measure.unit for row in view.rows for name, measure in row.measures.items()}
    return [quantity(name, units[name]) for name in names if name in units]


def _told(view: View) -> list[_Told]:
    found = [_Told(measure=e.measure, unit=e.unit, where=e.where) for row in view.rows for e in row.reported]
    return list(dict.fromkeys(found))


def _bits(row: RowResult) -> Number | None:
    size = row.measures.get("size")
    return None if size is None else size.parts.get("bits_per_weight")


def _multiple_column(view: View, what: Quantity) -> list[Column]:
    if what.name in SPEED and any(what.name in row.beside for row in view.rows):
        return [Column(head="as fast", unit=f"{TIMES} original", best="high")]
    return []


def _multiple(row: RowResult, what: Quantity) -> Cell:
    """How many times as fast as the original, timed in turn with it."""
    own, other = row.measures.get(what.name), row.beside.get(what.name)
    if own is None or other is None or not own.value or not other.value:
        return NONE
    return number(own.value / other.value if what.better == "high" else other.value / own.value, 2)


def _best(view: View, score: Score) -> Best:
    values = [row.scores.get(score.name) for row in view.rows]
    return "" if any(isinstance(value, bool) for value in values) else "high"


def _score(row: RowResult, score: Score) -> Cell:
    value = row.scores.get(score.name)
    if isinstance(value, bool):
        return Cell(text="yes" if value else "no")
    return number(value, 3)


def _note(view: View, results: StudyResults, told: bool) -> str:
    """What the signs mean, and what rows say of themselves."""
    parts: list[str] = []
    if any(m.se is not None for row in view.rows for m in row.measures.values()):
        parts.append("± is one standard error.")
    parts.append("Marked: the best of a column, the original left aside.")
    if told:
        parts.append(f"Reported: {results.reported or 'what others published'}.".replace("..", "."))
    parts += [f"{score.name} = {score.expression}." for score in results.scores]
    return " ".join([*parts, *_said(view.rows)])


def _said(rows: Sequence[RowResult]) -> list[str]:
    """Each note once, with the rows that it is of."""
    notes: dict[str, list[str]] = {}
    for row in rows:
        for note in row.notes:
            notes.setdefault(note, []).append(row.label)
    return [f"{', '.join(labels)}: {note.rstrip('.')}." for note, labels in notes.items()]
