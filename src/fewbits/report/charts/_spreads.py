"""How the weights of every layer lie, by kind and block, and the grid that they are rounded to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fewbits.report.cells import short
from fewbits.report.charts._grid import height, paint_grid
from fewbits.report.charts._tables import table_of_spreads
from fewbits.report.charts.theme import SERIES, Sheet, drawn
from fewbits.report.charts.values import Scale, Spread
from fewbits.report.page import Figure

FINEST = 64  # values of a grid that are still told apart

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def spreads(title: str, ones: Sequence[Spread], *, x: Scale, y: Scale, sentence: str, note: str = "") -> Figure:
    """A thin line from the least to the largest weight, a thicker one for 98 %, the thickest for the middle half.

    Ticks across it are the values of the grid.
    """
    names = list(dict.fromkeys(one.panel for one in ones))

    def paint(sheet: Sheet) -> None:
        def draw(axes: "Axes", name: str) -> None:
            here = [one for one in ones if one.panel == name]
            for at, one in enumerate(here):
                _spread(sheet, axes, at, one)
            step = -(-len(here) // 8)
            axes.set_xticks(range(0, len(here), step), [str(one.x) for one in here[::step]])
            axes.set_xlim(-0.8, len(here) - 0.2)
            axes.grid(False, axis="x")

        paint_grid(sheet, names, draw, x=x, y=y, most=5)

    wide, narrow = drawn(title, paint, wide=height(len(names), narrow=False), narrow=height(len(names), narrow=True))
    return Figure(title=title, sentence=sentence, wide=wide, narrow=narrow, data=table_of_spreads(ones), note=note)


def _spread(sheet: Sheet, axes: "Axes", at: int, one: Spread) -> None:
    least, low, first, middle, third, high, most = one.quantiles
    blue, orange = SERIES[0], SERIES[1]
    axes.plot([at, at], [least, most], color=blue, linewidth=1, alpha=0.55, zorder=2)
    axes.plot([at, at], [low, high], color=blue, linewidth=3.2, alpha=0.6, zorder=2)
    (made,) = axes.plot([at, at], [first, third], color=blue, linewidth=7, solid_capstyle="butt", zorder=2.5)
    if len(one.grid) <= FINEST:
        axes.hlines(one.grid, at - 0.36, at + 0.36, color=orange, linewidth=1, zorder=3)
    tip = f"{one.panel} {one.x}\nfrom {short(least)} to {short(most)}, half within {short(first)} to {short(third)}"
    sheet.tell(made, one.tip or f"{tip}\nmiddle {short(middle)}")
