"""Cost against loss: every row a point, the frontier a line, the original a reference."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from fewbits.report.cells import short
from fewbits.report.charts._axes import legend, reference, set_x, set_y
from fewbits.report.charts._labels import place
from fewbits.report.charts._tables import table_of_dots
from fewbits.report.charts.theme import DIM, Sheet, colours, drawn
from fewbits.report.charts.values import Dot, Mark, Scale
from fewbits.report.page import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Better = Literal["low", "high"]


def scatter(
    title: str,
    dots: Sequence[Dot],
    *,
    x: Scale,
    y: Scale,
    sentence: str,
    better: Better = "low",
    mark: Mark | None = None,
    note: str = "",
) -> Figure:
    """Points by x (the less the better) and y (`better` tells which end is); the frontier joins those that none beats.

    Hollow dots (peers, reported figures) count for the frontier too: it shows who stands on it.
    """
    looks = colours([dot.series for dot in dots])

    def paint(sheet: Sheet) -> None:
        (axes,) = sheet.axes()
        line = frontier(dots, better)
        axes.plot([d.x for d in line], [d.y for d in line], color=DIM, linewidth=1.2, alpha=0.55, zorder=1.6)
        handles = _points(sheet, axes, dots, looks, x, y)
        if mark is not None:
            reference(axes, mark)
        set_x(axes, x, most=5 if sheet.narrow else 9)
        set_y(axes, y)
        legend(sheet, handles)
        on_line = set(map(id, line))
        wanted = sorted((d for d in dots if d.label), key=lambda d: id(d) not in on_line)
        place(sheet, axes, [(d.x, d.y, d.label) for d in wanted], [(d.x, d.y) for d in dots], mark)

    wide, narrow = drawn(title, paint, wide=440, narrow=360)
    return Figure(title=title, sentence=sentence, wide=wide, narrow=narrow, data=table_of_dots(dots, x, y), note=note)


def frontier(dots: Sequence[Dot], better: Better = "low") -> list[Dot]:
    """The dots that no other beats: none has less x and a better y, by x."""
    sign = 1 if better == "low" else -1
    found: list[Dot] = []
    for dot in sorted(dots, key=lambda d: (d.x, sign * d.y)):
        if not found or sign * dot.y < sign * found[-1].y:
            found.append(dot)
    return found


def _points(
    sheet: Sheet, axes: "Axes", dots: Sequence[Dot], looks: dict[str, tuple[str, str]], x: Scale, y: Scale
) -> dict[str, Any]:
    handles: dict[str, Any] = {}
    for dot in dots:
        colour, marker = looks[dot.series]
        if dot.low is not None and dot.high is not None:
            axes.plot([dot.x, dot.x], [dot.low, dot.high], color=colour, linewidth=1.2, alpha=0.6, zorder=2)
        face = "none" if dot.hollow else colour
        (made,) = axes.plot([dot.x], [dot.y], marker, color=colour, markerfacecolor=face, markeredgewidth=1.6, zorder=3)
        sheet.tell(made, dot.tip or _tip(dot, x, y))
        handles.setdefault(dot.series, made)
    return handles


def _tip(dot: Dot, x: Scale, y: Scale) -> str:
    name = " · ".join(part for part in (dot.series, dot.label) if part)
    return f"{name}\n{x.label}: {short(dot.x)}\n{y.label}: {short(dot.y)}"
