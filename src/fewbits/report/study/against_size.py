"""Loss against size: every row a point."""

from fewbits.report.cells import MIB, short
from fewbits.report.charts import Dot, Mark, Scale, scatter
from fewbits.report.page import Figure
from fewbits.report.quantities import Quantity
from fewbits.report.study.view import CLOSE, View, called, size_of
from fewbits.study.results import RowResult

COARSE = 0.03  # of a value: a standard error that large is said
FAR = 5.0  # times: values that far apart are drawn on a logarithmic axis


def against_size(view: View, what: Quantity, *, alone: bool = True) -> Figure | None:
    """The chart for one measure of quality; None where fewer than two rows have it."""
    rows = view.have("size", what.name)
    if len(rows) < 2:
        return None
    dots = [dot_of(row, what) for row in rows]
    values = [dot.y for dot in dots]
    log = what.better == "low" and min(values) > 0 and max(values) / min(values) > FAR
    before = view.value(view.original, what)
    mark = Mark(value=before, label=f"original {short(before)}") if before and before > 0 else None
    title = f"{what.head[:1].upper()}{what.head[1:]} against size" + ("" if alone else f": {view.name}")
    return scatter(
        title,
        dots,
        x=Scale(label="size, MiB"),
        y=Scale(label=what.label, log=log),
        better=what.better,
        mark=mark,
        sentence=sentence(view, what, rows),
        note="The line joins the rows that none beats in both. Hollow: made by other libraries. Bars: one standard error.",
    )


def sentence(view: View, what: Quantity, rows: list[RowResult]) -> str:
    """The smallest row that keeps the quality, and who stands on the frontier."""
    line = on_frontier(rows, what)
    peers = [row for row in rows if row.peer]
    of_peers = sum(1 for row in line if row.peer)
    told = f"{len(line)} of {len(rows)} rows are beaten by none"
    told += f", {of_peers} of them made by other libraries" if peers else ""
    return f"{_smallest(view, what, rows, line)}; {told}{_coarse(view, what)}."


def on_frontier(rows: list[RowResult], what: Quantity) -> list[RowResult]:
    """The rows that no other beats in size and quality, by size."""
    sign = 1 if what.better == "low" else -1
    found: list[RowResult] = []
    best = float("inf")
    for row in sorted(rows, key=lambda r: (size_of(r) or 0, sign * r.measures[what.name].value)):
        if sign * row.measures[what.name].value < best:
            found.append(row)
            best = sign * row.measures[what.name].value
    return found


def _smallest(view: View, what: Quantity, rows: list[RowResult], line: list[RowResult]) -> str:
    kept = sorted((r for r in rows if view.keeps(r)), key=lambda r: size_of(r) or 0)
    if what is not view.main or view.original is None or what.name not in ("ppl", "accuracy"):
        return _ends(what, line)
    limit = "1 %" if what.name == "ppl" else f"{100 * CLOSE:.0f} point"
    before = short(view.value(view.original, what) or 0) + _unit(what)
    if not kept:
        return f"No row stays within {limit} of the original's {what.head}, {before}"
    row = kept[0]
    said = f"{what.head} {short(view.value(row, what) or 0)}{_unit(what)}"
    times = (size_of(view.original) or 0) / (size_of(row) or 1)
    smaller = f", {times:.1f} times smaller" if times else ""
    return f"The smallest row within {limit} of the original's {before} is {called(row)}: {said}{_at(row)}{smaller}"


def _coarse(view: View, what: Quantity) -> str:
    """A word of warning where the measure itself is not known well."""
    measure = view.original.measures.get(what.name) if view.original else None
    if measure is None or measure.se is None or not measure.value or measure.se / measure.value < COARSE:
        return ""
    return f", but the standard error, {100 * measure.se / measure.value:.0f} % of the original's, hides small differences"


def _ends(what: Quantity, line: list[RowResult]) -> str:
    """The smallest and the best of the frontier."""
    ends = [
        f"{called(row)} has {what.head} {short(what.shown(row.measures[what.name]) or 0)}{_unit(what)}{_at(row)}"
        for row in line
    ]
    return f"{ends[0]}, {ends[-1]}" if len(ends) > 1 else ends[0]


def _unit(what: Quantity) -> str:
    return f" {what.unit}" if what.unit else ""


def _at(row: RowResult) -> str:
    return f" at {short((size_of(row) or 0) / MIB)} MiB"


def dot_of(row: RowResult, what: Quantity) -> Dot:
    """A row as a point: coloured by who made it and by its method."""
    measure = row.measures[what.name]
    low, high = what.ends(measure)
    size = (size_of(row) or 0) / MIB
    value = measure.value * what.times
    made_by = f" by {row.peer}" if row.peer else ""
    return Dot(
        x=size,
        y=value,
        low=low,
        high=high,
        series=family(row),
        label=row.label.rpartition(":")[2] if row.peer is None and " " not in row.label else row.label,
        tip=f"{row.label}{made_by}\nsize: {size:,.3f} MiB\n{what.head}: {what.cell(measure).text} {what.cell(measure).note}",
        hollow=row.peer is not None,
    )


def family(row: RowResult) -> str:
    """The library of a peer; of ours the method, or that it is a plan of several schemes."""
    if row.peer:
        return row.peer.split()[0]
    if row.bits is None or not row.series:
        schemes = {rule.scheme for rule in row.plan.rules if rule.scheme} if row.plan else set()
        return schemes.pop().method if len(schemes) == 1 else "mixed plans"
    method, colon, name = row.series.rpartition(":")
    return method if colon else "".join(c for c in name.split("g")[0] if c.isalpha()) or row.series
