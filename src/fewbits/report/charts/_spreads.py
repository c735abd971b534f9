"""How the weights of every layer lie, by kind and block, and the grid that they are rounded to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fewbits.report.cells import short
from fewbits.report.charts._axes import set_y
from fewbits.report.charts._panels import COLUMNS, HEIGHT, NARROW_COLUMNS
from fewbits.report.charts._tables import table_of_spreads
from fewbits.report.charts.theme import DIM, INK, SERIES, Sheet, drawn
from fewbits.report.charts.values import Scale, Spread
from fewbits.report.page import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def spreads(title: str, ones: Sequence[Spread], *, y: Scale, sentence: str, note: str = "") -> Figure:
    """A thin line from the least to the largest weight, a thicker one for 98 %, the thickest for the middle half; ticks are
    the values of the grid.
    """
    names = list(dict.fromkeys(one.panel for one in ones))

    def paint(sheet: Sheet) -> None:
        columns = min(len(names), NARROW_COLUMNS if sheet.narrow else COLUMNS)
        grid = sheet.axes(-(-len(names) // columns), columns, sharey=True)
        for at, axes in enumerate(grid):
            if at >= len(names):
                axes.set_visible(False)
                continue
            here = [one for one in ones if one.panel == names[at]]
            for place, one in enumerate(here):
                _spread(sheet, axes, place, one)
            set_y(axes, y, most=5)
            axes.set_title(names[at], fontsize=11 if sheet.narrow else 12.5, weight="bold", color=INK, pad=5)
            step = -(-len(here) // 8)
            axes.set_xticks(range(0, len(here), step), [str(one.x) for one in here[::step]])
            axes.set_xlim(-0.8, len(here) - 0.2)
            axes.grid(False, axis="x")
        sheet.canvas.supxlabel("block", color=DIM, fontsize=11.5 if sheet.narrow else 13)
        sheet.canvas.supylabel(y.label, color=DIM, fontsize=11.5 if sheet.narrow else 13)

    count = len(names)
    wide, narrow = drawn(
        title,
        paint,
        wide=60 + HEIGHT * -(-count // min(count, COLUMNS)),
        narrow=70 + 150 * -(-count // min(count, NARROW_COLUMNS)),
    )
    return Figure(title=title, sentence=sentence, wide=wide, narrow=narrow, data=table_of_spreads(ones), note=note)


def _spread(sheet: Sheet, axes: "Axes", at: int, one: Spread) -> None:
    least, low, first, middle, third, high, most = one.quantiles
    blue, orange = SERIES[0], SERIES[1]
    axes.plot([at, at], [least, most], color=blue, linewidth=1, alpha=0.55, zorder=2)
    axes.plot([at, at], [low, high], color=blue, linewidth=3.2, alpha=0.6, zorder=2)
    (made,) = axes.plot([at, at], [first, third], color=blue, linewidth=7, solid_capstyle="butt", zorder=2.5)
    if len(one.grid):
        axes.hlines(one.grid, at - 0.36, at + 0.36, color=orange, linewidth=1, zorder=3)
    tip = f"{one.panel} {one.x}\nfrom {short(least)} to {short(most)}, half within {short(first)} to {short(third)}"
    sheet.tell(made, one.tip or f"{tip}\nmiddle {short(middle)}")
