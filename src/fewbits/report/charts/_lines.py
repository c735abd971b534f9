"""Curves over a few steps: bits against a metric, a line for each group size or method."""

from collections.abc import Sequence

from fewbits.report.cells import short
from fewbits.report.charts._axes import legend, reference, set_x, set_y
from fewbits.report.charts._tables import table_of_dots
from fewbits.report.charts.theme import Sheet, colours, drawn
from fewbits.report.charts.values import Dot, Mark, Scale
from fewbits.report.page import Figure


def lines(
    title: str, dots: Sequence[Dot], *, x: Scale, y: Scale, sentence: str, mark: Mark | None = None, note: str = ""
) -> Figure:
    """A line for each series through its dots by x; `hollow` dots (reported figures, peers) are joined by dots."""
    looks = colours([dot.series for dot in dots])
    steps = sorted({dot.x for dot in dots})

    def paint(sheet: Sheet) -> None:
        (axes,) = sheet.axes()
        handles = {}
        for series, (colour, marker) in looks.items():
            ones = sorted((d for d in dots if d.series == series), key=lambda d: d.x)
            style = ":" if all(d.hollow for d in ones) else "-"
            axes.plot([d.x for d in ones], [d.y for d in ones], color=colour, linestyle=style, linewidth=1.6, zorder=2)
            for dot in ones:
                if dot.low is not None and dot.high is not None:
                    axes.plot([dot.x] * 2, [dot.low, dot.high], color=colour, linewidth=1.2, alpha=0.6, zorder=2)
                face = "none" if dot.hollow else colour
                (made,) = axes.plot([dot.x], [dot.y], marker, color=colour, markerfacecolor=face, markeredgewidth=1.6, zorder=3)
                sheet.tell(made, dot.tip or f"{series}\n{x.label}: {short(dot.x)}\n{y.label}: {short(dot.y)}")
                handles.setdefault(series, made)
        if mark is not None:
            reference(axes, mark)
        set_x(axes, x)
        if len(steps) <= 10:
            axes.set_xticks(steps)
        set_y(axes, y)
        legend(sheet, handles)

    wide, narrow = drawn(title, paint, wide=420, narrow=340)
    return Figure(title=title, sentence=sentence, wide=wide, narrow=narrow, data=table_of_dots(dots, x, y), note=note)
