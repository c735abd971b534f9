"""Horizontal bars: one value a row, such as a time, with its uncertainty."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fewbits.report.cells import short
from fewbits.report.charts._axes import legend, reference, set_x
from fewbits.report.charts._tables import table_of_bars
from fewbits.report.charts.theme import INK, Sheet, colours, drawn
from fewbits.report.charts.values import Bar, Mark, Scale
from fewbits.report.page import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW = 26  # pixels a bar


def bars(title: str, ones: Sequence[Bar], *, x: Scale, sentence: str, mark: Mark | None = None, note: str = "") -> Figure:
    """A bar each, from above to below, its figure at the end (`text`, or the value)."""
    looks = colours([bar.series for bar in ones])
    height = 90 + ROW * len(ones)

    def paint(sheet: Sheet) -> None:
        (axes,) = sheet.axes()
        handles = {}
        for at, bar in enumerate(ones):
            made = axes.barh(at, bar.value, height=0.62, color=looks[bar.series][0], zorder=2)
            sheet.tell(made[0], f"{bar.label}\n{x.label}: {bar.text or short(bar.value)}")
            handles.setdefault(bar.series, made)
            if bar.low is not None and bar.high is not None:
                axes.plot([bar.low, bar.high], [at, at], color=INK, linewidth=1.4, zorder=3)
            end = max(bar.value, bar.high or bar.value)
            axes.annotate(
                bar.text or short(bar.value), (end, at), xytext=(6, 0), textcoords="offset points", va="center", color=INK
            )
        axes.set_yticks(range(len(ones)), [bar.label for bar in ones], color=INK)
        axes.set_ylim(len(ones) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        axes.margins(x=0.16 if sheet.narrow else 0.08)
        set_x(
            axes, x if x.log or x.low is not None else Scale(label=x.label, low=0, high=x.high), most=4 if sheet.narrow else 8
        )
        if sheet.narrow:
            above_the_bars(axes, [bar.label for bar in ones])
        if mark is not None:
            reference(axes, mark, upright=True)
        legend(sheet, handles)

    wide, narrow = drawn(title, paint, wide=height, narrow=90 + int(ROW * 1.6) * len(ones))
    return Figure(title=title, sentence=sentence, wide=wide, narrow=narrow, data=table_of_bars(ones, x), note=note)


def above_the_bars(axes: "Axes", labels: Sequence[str]) -> None:
    """In a narrow window the names lie above their bars, so that these have the whole width."""
    axes.set_yticks([])
    for at, label in enumerate(labels):
        axes.annotate(label, (0, at - 0.34), xycoords=("axes fraction", "data"), va="bottom", color=INK, fontsize=11)
