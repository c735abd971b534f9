"""What a model takes: bytes by type, and time."""

from statistics import median

from fewbits.report.cells import MIB, short
from fewbits.report.charts import Bar, Mark, Scale, Stack, bars, stacks
from fewbits.report.charts.theme import SERIES
from fewbits.report.page import Figure, Number
from fewbits.report.quantities import Quantity
from fewbits.report.study.view import View, called, size_of
from fewbits.study.results import RowResult


def memory_by_type(view: View, *, model: str = "") -> Figure | None:
    """Bars of bytes by the type that stores them."""
    rows = [
        row
        for row in view.rows
        if row.error is None and row.measures.get("size") and row.measures["size"].parts.get("by_dtype")
    ]
    if not rows:
        return None
    ones = [Stack(label=row.label, parts=parts) for row, parts in zip(rows, by_type(rows), strict=True)]
    return stacks(f"Memory by type{model}", ones, x=Scale(label="MiB"), sentence=memory_sentence(view, rows))


def by_type(rows: list[RowResult]) -> list[dict[str, Number]]:
    """MiB by type for each row. Where there are more types than colours, those that are nowhere large are one."""
    found = [{name: n / MIB for name, n in row.measures["size"].parts["by_dtype"].items()} for row in rows]
    largest: dict[str, Number] = {}
    for parts in found:
        for name, value in parts.items():
            largest[name] = max(value, largest.get(name, 0))
    kept = list(largest)
    if len(largest) > len(SERIES):
        kept = sorted(largest, key=lambda name: -largest[name])[: len(SERIES) - 1]
    folded = []
    for parts in found:
        rest = sum(value for name, value in parts.items() if name not in kept)
        folded.append({name: value for name, value in parts.items() if name in kept} | ({"other types": rest} if rest else {}))
    return folded


def memory_sentence(view: View, rows: list[RowResult]) -> str:
    """What the smallest row is made of."""
    row = min(rows, key=lambda r: size_of(r) or 0)
    size = row.measures["size"]
    total = size.value or 1
    told = f"{called(row)} is the smallest, {short(total / MIB)} MiB"
    if view.original is not None and (whole := size_of(view.original)) and row is not view.original:
        told += f" ({100 * total / whole:.0f} % of the original)"
    names = {"codes": "codes", "meta": "scales and zero points", "kept": "what is not quantized"}
    shares = [f"{100 * size.parts[part] / total:.0f} % of it {name}" for part, name in names.items() if size.parts.get(part)]
    return f"{told}: {', '.join(shares)}." if shares else f"{told}."


def time_of(view: View, what: Quantity, *, model: str = "") -> Figure | None:
    """Bars of one measure of time or speed, the original's as a line."""
    rows = [row for row in view.rows if row.error is None and what.name in row.measures]
    if len(rows) < 2:
        return None
    before = view.value(view.original, what)
    ones = [_bar(row, what) for row in rows]
    mark = Mark(value=before, label="original") if before else None
    better = "less is better" if what.better == "low" else "more is better"
    spread = max(bar.value for bar in ones) / max(min(bar.value for bar in ones), 1e-12)
    return bars(
        f"{what.head[:1].upper()}{what.head[1:]}{model}",
        ones,
        x=Scale(label=f"{what.unit} ({better})", log=spread > 50),
        mark=mark,
        sentence=time_sentence(view, what, rows),
    )


def time_sentence(view: View, what: Quantity, rows: list[RowResult]) -> str:
    """The fastest row beside the original, how many are slower, and the peers' middle."""
    made = [row for row in rows if not row.original]
    best = (min if what.better == "low" else max)(made, key=lambda row: row.measures[what.name].value)
    value = what.shown(best.measures[what.name]) or 0.0
    told = f"{called(best)} is the fastest, {short(value)} {what.unit}"
    ratios = [r for row in made if (r := times_as_fast(view, row, what)) is not None]
    own = times_as_fast(view, best, what)
    if own is not None:
        slower = sum(ratio < 1 for ratio in ratios)
        told += f", {own:.2f} times as fast as the original; {slower} of {len(ratios)} rows are slower than it"
    peers = [r for row in made if row.peer and (r := times_as_fast(view, row, what)) is not None]
    return f"{told}; the middle row of other libraries is {median(peers):.2f} times as fast." if peers else f"{told}."


def times_as_fast(view: View, row: RowResult, what: Quantity) -> Number | None:
    """Beside the original that was timed in turn with the row; else beside the original's own row."""
    other = row.beside.get(what.name) or (view.original.measures.get(what.name) if view.original else None)
    own = row.measures.get(what.name)
    if own is None or other is None or not own.value or not other.value:
        return None
    return other.value / own.value if what.better == "low" else own.value / other.value


def _bar(row: RowResult, what: Quantity) -> Bar:
    measure = row.measures[what.name]
    low, high = what.ends(measure)
    cell = what.cell(measure)
    series = "original" if row.original else "other libraries" if row.peer else "fewbits"
    return Bar(label=row.label, value=measure.value * what.times, low=low, high=high, series=series, text=cell.text)
