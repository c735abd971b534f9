"""The figures of a chart as a table, for those who cannot see it or want the digits."""

from collections.abc import Sequence

from fewbits.report.cells import NONE, short
from fewbits.report.charts.values import Bar, Dot, Histogram, Scale, Spread, Stack
from fewbits.report.page import Cell, Column, Line, Number, Table


def table_of_dots(dots: Sequence[Dot], x: Scale | None, y: Scale) -> Table:
    """A row a point; without `x` its place is in its name."""
    rows = []
    for dot in dots:
        name = _name(dot.series, dot.label or dot.tip.partition("\n")[0])
        rows.append(Line(cells=(name, *([_cell(dot.x)] if x else []), _cell(dot.y, dot.low, dot.high))))
    return Table(columns=(Column(head=""), *([Column(head=x.label)] if x else []), Column(head=y.label)), rows=rows)


def table_of_bars(bars: Sequence[Bar], scale: Scale) -> Table:
    """A row a bar."""
    rows = [Line(cells=(_name(b.series, b.label), _cell(b.value, b.low, b.high))) for b in bars]
    return Table(columns=(Column(head=""), Column(head=scale.label)), rows=rows)


def table_of_stacks(stacks: Sequence[Stack], scale: Scale) -> Table:
    """A row a bar, a column a part."""
    names = list(dict.fromkeys(name for stack in stacks for name in stack.parts))
    rows = [
        Line(
            cells=(
                stack.label,
                *(_cell(stack.parts[name]) if name in stack.parts else NONE for name in names),
                _cell(sum(stack.parts.values())),
            )
        )
        for stack in stacks
    ]
    heads = [Column(head=""), *(Column(head=name) for name in names), Column(head=f"all, {scale.label}")]
    return Table(columns=heads, rows=rows)


def table_of_spreads(spreads: Sequence[Spread]) -> Table:
    """A row a layer."""
    heads = ["layer", "least", "1 %", "25 %", "50 %", "75 %", "99 %", "largest"]
    rows = [Line(cells=(f"{s.panel} {s.x}", *(_cell(q) for q in s.quantiles))) for s in spreads]
    return Table(columns=[Column(head=head) for head in heads], rows=rows)


def table_of_histograms(histograms: Sequence[Histogram]) -> Table:
    """A row a histogram: how many, where they end."""
    rows = [
        Line(cells=(h.title, f"{sum(h.counts):,}", _cell(h.edges[0]), _cell(h.edges[-1]), str(len(h.grid)))) for h in histograms
    ]
    heads = ["layer", "weights", "from", "to", "values of the grid"]
    return Table(columns=[Column(head=head) for head in heads], rows=rows)


def _name(series: str, label: str) -> str:
    return label if not series or series == label else series if not label else f"{series}: {label}"


def _cell(value: Number, low: Number | None = None, high: Number | None = None) -> Cell:
    note = "" if low is None or high is None else f"{short(low)} to {short(high)}"
    return Cell(text=short(value), note=note, value=value)
