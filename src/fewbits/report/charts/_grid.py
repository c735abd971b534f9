"""A grid of panels on one y axis: fewer columns in a narrow window."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fewbits.report.charts._axes import legend, ticks
from fewbits.report.charts.theme import DIM, INK, Sheet
from fewbits.report.charts.values import Scale
from fewbits.report.page import Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS, NARROW_COLUMNS = 4, 2


def paint_grid(
    sheet: Sheet,
    names: Sequence[str],
    draw: Callable[["Axes", str], None],
    *,
    x: Scale,
    y: Scale,
    columns: int = COLUMNS,
    most: int = 4,
    handles: Mapping[str, Any] | None = None,
) -> None:
    """Draw each panel, then give all the same limits. The y label stands above, once, with the legend of `handles`."""
    across = min(len(names), NARROW_COLUMNS if sheet.narrow else columns)
    grid = sheet.axes(-(-len(names) // across), across, sharey=True)
    size = 11.5 if sheet.narrow else 13
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(grid, names, strict=False):
        draw(axes, name)
        axes.set_title(name, fontsize=size - 0.5, weight="bold", color=INK, pad=5)
        axes.tick_params(axis="y", length=0)
    first = grid[0]
    if y.log:
        first.set_yscale("log")
    low, high = _ends(grid[: len(names)])
    first.set_ylim(low if y.low is None else y.low, high if y.high is None else y.high)
    ticks(first.yaxis, y, first.get_ylim(), most)
    sheet.canvas.supxlabel(x.label, color=DIM, fontsize=size)
    if handles and len(handles) > 1:
        legend(sheet, handles, y.label)
    else:
        sheet.canvas.suptitle(y.label, color=DIM, fontsize=size, x=0.004, ha="left")
    if engine := sheet.canvas.get_layout_engine():
        engine.set(h_pad=7 / 72, w_pad=4 / 72)  # type: ignore[call-arg] - inches; a constrained layout has them


def height(count: int, *, narrow: bool, columns: int = COLUMNS, row: int = 172) -> int:
    """Pixels that so many panels take, without what is around them."""
    across = min(count, NARROW_COLUMNS if narrow else columns)
    return 78 + (150 if narrow else row) * -(-count // across)


def _ends(grid: Sequence["Axes"]) -> tuple[Number, Number]:
    """The common limits of what was drawn."""
    for axes in grid:
        axes.relim()
        axes.autoscale_view(scalex=False)
    limits = [axes.get_ylim() for axes in grid]
    return min(low for low, _ in limits), max(high for _, high in limits)
