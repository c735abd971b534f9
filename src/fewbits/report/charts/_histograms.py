"""Histograms side by side, each with the grid that its values are rounded to drawn over it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fewbits.report.charts._axes import set_x, tick_text, ticks
from fewbits.report.charts._tables import table_of_histograms
from fewbits.report.charts.theme import DIM, INK, SERIES, Sheet, drawn
from fewbits.report.charts.values import Histogram, Scale
from fewbits.report.page import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3


def histograms(
    title: str, ones: Sequence[Histogram], *, x: Scale, sentence: str, log: bool = True, note: str = "", height: int = 210
) -> Figure:
    """A panel each. Counts are on a logarithmic axis unless `log` is off: a few far values make a grid coarse."""

    def paint(sheet: Sheet) -> None:
        columns = min(len(ones), 1 if sheet.narrow else COLUMNS)
        grid = sheet.axes(-(-len(ones) // columns), columns)
        for at, axes in enumerate(grid):
            if at >= len(ones):
                axes.set_visible(False)
                continue
            _histogram(sheet, axes, ones[at], x, log)

    count = len(ones)
    wide = 30 + height * -(-count // min(count, COLUMNS))
    drawings = drawn(title, paint, wide=wide, narrow=20 + 170 * count)
    return Figure(
        title=title, sentence=sentence, wide=drawings[0], narrow=drawings[1], data=table_of_histograms(ones), note=note
    )


def _histogram(sheet: Sheet, axes: "Axes", one: Histogram, x: Scale, log: bool) -> None:
    made = axes.stairs(list(one.counts), list(one.edges), fill=True, color=SERIES[0], alpha=0.75, zorder=2)
    sheet.tell(made, f"{one.title}\n{sum(one.counts):,} values from {tick_text(one.edges[0])} to {tick_text(one.edges[-1])}")
    counts = Scale(label="", log=log, low=0.8 if log else 0)
    if log:
        axes.set_yscale("log")
    axes.set_ylim(bottom=counts.low)
    ticks(axes.yaxis, counts, axes.get_ylim(), 5)
    set_x(axes, x, most=5)
    axes.set_title(one.title, fontsize=12, weight="bold", color=INK, pad=18 if one.note else 6)
    if one.note:
        axes.annotate(
            one.note, (0, 1), xycoords="axes fraction", xytext=(0, 5), textcoords="offset points", color=DIM, fontsize=11
        )
    for value in one.grid:
        axes.axvline(value, color=SERIES[1], linewidth=1, alpha=0.85, zorder=3)
    for mark in one.marks:
        axes.axvline(mark.value, color=DIM, linewidth=1.2, linestyle=(0, (4, 3)), zorder=3)
        axes.annotate(
            mark.label, (mark.value, 1), xycoords=("data", "axes fraction"), xytext=(3, -2), textcoords="offset points",
            va="top", color=DIM, fontsize=11,
        )  # fmt: skip
    axes.tick_params(axis="y", length=0)
