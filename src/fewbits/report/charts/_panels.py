"""Small multiples: a panel for each kind of layer, its blocks from left to right, bars for one scheme or lines for several."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fewbits.report.cells import short
from fewbits.report.charts._axes import reference
from fewbits.report.charts._grid import height, paint_grid
from fewbits.report.charts._tables import table_of_dots
from fewbits.report.charts.theme import INK, Sheet, colours, drawn
from fewbits.report.charts.values import Dot, Mark, Scale
from fewbits.report.page import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Looks = dict[str, tuple[str, str]]


def panels(
    title: str,
    dots: Sequence[tuple[str, Dot]],
    *,
    x: Scale,
    y: Scale,
    sentence: str,
    mark: Mark | None = None,
    note: str = "",
) -> Figure:
    """Dots by panel, all on one y axis; bars where there is one series, lines where there are several."""
    names = list(dict.fromkeys(name for name, _ in dots))
    looks = colours([dot.series for _, dot in dots])
    told = [(name, replace(dot, label=dot.label or f"{name}, {x.label} {dot.x:g}")) for name, dot in dots]

    def paint(sheet: Sheet) -> None:
        handles: dict[str, object] = {}

        def draw(axes: "Axes", name: str) -> None:
            here = [dot for panel, dot in told if panel == name]
            if len(looks) == 1:
                _bars(sheet, axes, here, looks, y)
            else:
                handles.update(_lines(sheet, axes, here, looks, y))
            _places(axes, here)
            if mark is not None:
                reference(axes, mark)

        paint_grid(sheet, names, draw, x=x, y=y, handles=handles)

    extra = 30 if len(looks) > 1 else 0
    wide, narrow = drawn(
        title, paint, wide=height(len(names), narrow=False) + extra, narrow=height(len(names), narrow=True) + 2 * extra
    )
    data = table_of_dots([dot for _, dot in told], None, y)
    return Figure(title=title, sentence=sentence, wide=wide, narrow=narrow, data=data, note=note)


def _bars(sheet: Sheet, axes: "Axes", dots: Sequence[Dot], looks: Looks, y: Scale) -> None:
    for dot in dots:
        made = axes.bar(dot.x, dot.y, width=0.72, color=looks[dot.series][0], zorder=2)
        sheet.tell(made[0], dot.tip or _tip(dot, y))
        if dot.low is not None and dot.high is not None:
            axes.plot([dot.x] * 2, [dot.low, dot.high], color=INK, linewidth=1.2, zorder=3)


def _lines(sheet: Sheet, axes: "Axes", dots: Sequence[Dot], looks: Looks, y: Scale) -> dict[str, object]:
    handles: dict[str, object] = {}
    for series, (colour, marker) in looks.items():
        ones = sorted((dot for dot in dots if dot.series == series), key=lambda d: d.x)
        axes.plot([d.x for d in ones], [d.y for d in ones], color=colour, linewidth=1.4, zorder=2)
        for dot in ones:
            (made,) = axes.plot([dot.x], [dot.y], marker, color=colour, markersize=4.5, zorder=3)
            sheet.tell(made, dot.tip or _tip(dot, y))
            handles.setdefault(series, made)
    return handles


def _places(axes: "Axes", dots: Sequence[Dot]) -> None:
    """Whole numbers of blocks, not too many."""
    places = sorted({dot.x for dot in dots})
    shown = places[:: -(-len(places) // 8)]
    axes.set_xlim(places[0] - 0.8, places[-1] + 0.8)
    axes.set_xticks(shown, [f"{place:g}" for place in shown])
    axes.grid(False, axis="x")


def _tip(dot: Dot, y: Scale) -> str:
    return "\n".join(part for part in (dot.label, dot.series, f"{y.label}: {short(dot.y)}") if part)
