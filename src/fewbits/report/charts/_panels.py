"""Small multiples: a panel for each kind of layer, its blocks from left to right, bars for one scheme or lines for several."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fewbits.report.cells import short
from fewbits.report.charts._axes import legend, reference, set_y
from fewbits.report.charts._tables import table_of_dots
from fewbits.report.charts.theme import DIM, INK, Sheet, colours, drawn
from fewbits.report.charts.values import Dot, Mark, Scale
from fewbits.report.page import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS, NARROW_COLUMNS = 4, 2
HEIGHT = 178  # pixels a row of panels


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
    by_panel = {name: [dot for panel, dot in dots if panel == name] for name in names}

    def paint(sheet: Sheet) -> None:
        columns = min(len(names), NARROW_COLUMNS if sheet.narrow else COLUMNS)
        rows = -(-len(names) // columns)
        grid = sheet.axes(rows, columns, sharey=True)
        handles: dict[str, object] = {}
        for at, axes in enumerate(grid):
            if at >= len(names):
                axes.set_visible(False)
                continue
            draw = _bars if len(looks) == 1 else _lines
            handles |= draw(sheet, axes, by_panel[names[at]], looks, (names[at], x, y))
            set_y(axes, y, most=4)
            axes.set_title(names[at], fontsize=11 if sheet.narrow else 12.5, weight="bold", color=INK, pad=5)
            _blocks(axes, by_panel[names[at]])
            if mark is not None:
                reference(axes, mark)
        sheet.canvas.supxlabel(x.label, color=DIM, fontsize=11.5 if sheet.narrow else 13)
        sheet.canvas.supylabel(y.label, color=DIM, fontsize=11.5 if sheet.narrow else 13)
        legend(sheet, handles)

    count = len(names)
    wide, narrow = drawn(
        title,
        paint,
        wide=70 + HEIGHT * -(-count // min(count, COLUMNS)),
        narrow=90 + 150 * -(-count // min(count, NARROW_COLUMNS)),
    )
    data = table_of_dots([_named(name, dot) for name, dot in dots], x, y)
    return Figure(title=title, sentence=sentence, wide=wide, narrow=narrow, data=data, note=note)


def _bars(
    sheet: Sheet, axes: "Axes", dots: Sequence[Dot], looks: dict[str, tuple[str, str]], about: tuple[str, Scale, Scale]
) -> dict[str, object]:
    for dot in dots:
        bottom = 0.0 if not about[2].log else None
        made = axes.bar(dot.x, dot.y - (bottom or 0.0), width=0.72, color=looks[dot.series][0], zorder=2)
        sheet.tell(made[0], dot.tip or _tip(dot, *about))
        if dot.low is not None and dot.high is not None:
            axes.plot([dot.x] * 2, [dot.low, dot.high], color=INK, linewidth=1.2, zorder=3)
    return {}


def _lines(
    sheet: Sheet, axes: "Axes", dots: Sequence[Dot], looks: dict[str, tuple[str, str]], about: tuple[str, Scale, Scale]
) -> dict[str, object]:
    handles: dict[str, object] = {}
    for series, (colour, marker) in looks.items():
        ones = sorted((dot for dot in dots if dot.series == series), key=lambda d: d.x)
        axes.plot([d.x for d in ones], [d.y for d in ones], color=colour, linewidth=1.4, zorder=2)
        for dot in ones:
            (made,) = axes.plot([dot.x], [dot.y], marker, color=colour, markersize=4.5, zorder=3)
            sheet.tell(made, dot.tip or _tip(dot, *about))
            handles.setdefault(series, made)
    return handles


def _blocks(axes: "Axes", dots: Sequence[Dot]) -> None:
    """Whole numbers of blocks, not too many."""
    from matplotlib.ticker import FuncFormatter

    places = sorted({dot.x for dot in dots})
    axes.set_xlim(places[0] - 0.8, places[-1] + 0.8)
    axes.set_xticks(places[:: -(-len(places) // 8)])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(False, axis="x")


def _named(panel: str, dot: Dot) -> Dot:
    return Dot(x=dot.x, y=dot.y, low=dot.low, high=dot.high, series=dot.series, label=dot.label or f"{panel}, {dot.x:g}")


def _tip(dot: Dot, panel: str, x: Scale, y: Scale) -> str:
    name = dot.label or f"{panel}, {x.label} {dot.x:g}"
    return "\n".join(part for part in (name, dot.series, f"{y.label}: {short(dot.y)}") if part)
