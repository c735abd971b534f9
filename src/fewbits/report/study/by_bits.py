"""Quality by bits: a line for each method and group."""

import re
from collections import defaultdict
from collections.abc import Callable

from fewbits.report.cells import short
from fewbits.report.charts import Dot, Mark, Scale, lines
from fewbits.report.page import Figure, Number
from fewbits.report.quantities import Quantity
from fewbits.report.study.against_size import FAR
from fewbits.report.study.view import View
from fewbits.study.results import RowResult

MOST = 10  # lines that one can still tell apart
_PARTS = re.compile(r"((?:\w+:)?(?:uint|int|nf|fp))(g\d+o?)(.*)")


def by_bits(view: View, what: Quantity, *, alone: bool = True) -> Figure | None:
    """The chart for one measure; None where no series has two widths."""
    series = _series(view, what)
    if not series:
        return None
    dots = [_dot(row, what) for rows in series.values() for row in rows]
    values = [dot.y for dot in dots]
    log = what.better == "low" and min(values) > 0 and max(values) / min(values) > FAR
    before = view.value(view.original, what)
    mark = Mark(value=before, label=f"original {short(before)}") if before and before > 0 else None
    return lines(
        f"{what.head[:1].upper()}{what.head[1:]} by bits" + ("" if alone else f": {view.name}"),
        dots,
        x=Scale(label="bits of a code"),
        y=Scale(label=what.label, log=log),
        mark=mark,
        sentence=sentence(series, what, before),
        note="Dotted: made by other libraries. Bars: one standard error." if any(d.hollow for d in dots) else "",
    )


def sentence(series: dict[str, list[RowResult]], what: Quantity, before: Number | None) -> str:
    """Where the lines part at the fewest bits, and how near they are to the original at the most."""
    low, high = _spread_at(series, what, min), _spread_at(series, what, max)
    told = []
    if low is not None:
        bits, ends = low
        (best, good), (worst, bad) = ends
        if best == worst:
            told.append(f"At {bits:g} bits `{best}` has {short(good)}{_unit(what)}")
        else:
            told.append(
                f"At {bits:g} bits {what.head} lies between {short(good)}{_unit(what)} (`{best}`) and {short(bad)} (`{worst}`)"
            )
    if high is not None and before is not None and (low is None or high[0] != low[0]):
        bits, ends = high
        far = max(abs(value - before) for _, value in ends)
        who = f"`{ends[0][0]}`" if ends[0] == ends[1] else "every line"
        told.append(f"at {bits:g} bits {who} is within {short(far)}{_unit(what)} of the original's {short(before)}")
    return "; ".join(told) + "."


def _series(view: View, what: Quantity) -> dict[str, list[RowResult]]:
    """Rows by line, by bits; those of one point are left out, and the shortest where there are too many."""
    found: defaultdict[str, list[RowResult]] = defaultdict(list)
    for row in view.have(what.name):
        if row.bits is not None and row.series:
            found[named(row)].append(row)
    long = {name: sorted(rows, key=lambda r: r.bits or 0) for name, rows in found.items() if len({r.bits for r in rows}) > 1}
    if len(long) > MOST:
        kept = sorted(long, key=lambda name: -len(long[name]))[:MOST]
        long = {name: rows for name, rows in long.items() if name in kept}
    return long


def named(row: RowResult) -> str:
    """The line of a row as one reads it: `hqq:uint, groups of 64` for `hqq:uintg64`; of a peer that it is one."""
    match = _PARTS.fullmatch(row.series)
    if match is None or row.peer:
        return row.series + (", library" if row.peer else "")
    group = match[2][1:]
    kind = f"groups of {group[:-1]} outputs" if group.endswith("o") else f"groups of {group}"
    return f"{match[1]}{match[3]}, {kind}"


def _spread_at(
    series: dict[str, list[RowResult]], what: Quantity, pick: Callable[[list[Number]], Number]
) -> tuple[Number, tuple[tuple[str, Number], tuple[str, Number]]] | None:
    """The best and the worst line at the fewest (`min`) or most (`max`) bits that any has."""
    every = [row.bits for rows in series.values() for row in rows if row.bits is not None]
    if not every:
        return None
    bits = pick(every)
    here = [
        (name, row.measures[what.name].value * what.times) for name, rows in series.items() for row in rows if row.bits == bits
    ]
    here.sort(key=lambda each: each[1], reverse=what.better == "high")
    return bits, (here[0], here[-1])


def _unit(what: Quantity) -> str:
    return f" {what.unit}" if what.unit else ""


def _dot(row: RowResult, what: Quantity) -> Dot:
    measure = row.measures[what.name]
    low, high = what.ends(measure)
    tip = f"{row.label}\n{what.head}: {what.cell(measure).text} {what.cell(measure).note}"
    return Dot(
        x=row.bits or 0, y=measure.value * what.times, low=low, high=high, series=named(row), tip=tip,
        hollow=row.peer is not None,
    )  # fmt: skip
