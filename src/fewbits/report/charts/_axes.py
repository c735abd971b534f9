"""What all charts share: axes with readable ticks, a line for the reference, a legend above."""

from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import TYPE_CHECKING, Any

from fewbits.report.cells import MINUS, plain
from fewbits.report.charts.svg import HALO
from fewbits.report.charts.theme import DIM, INK, Sheet
from fewbits.report.charts.values import Mark, Scale
from fewbits.report.page import Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis


def set_x(axes: "Axes", scale: Scale, *, most: int = 8) -> None:
    """The x axis: its label below, at most so many ticks."""
    if scale.log:
        axes.set_xscale("log")
    axes.set_xlim(scale.low, scale.high)
    axes.set_xlabel(scale.label)
    ticks(axes.xaxis, scale, axes.get_xlim(), most)


def set_y(axes: "Axes", scale: Scale, *, most: int = 6) -> None:
    """The y axis: its label lies above, where it is read without turning one's head."""
    if scale.log:
        axes.set_yscale("log")
    axes.set_ylim(scale.low, scale.high)
    axes.set_title(scale.label, color=DIM, weight="normal", pad=10)
    ticks(axes.yaxis, scale, axes.get_ylim(), most)
    axes.tick_params(axis="y", length=0)


def ticks(axis: "Axis", scale: Scale, ends: tuple[Number, Number], most: int) -> None:
    """Round values, few of them, written as one says them."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    if scale.log:
        axis.set_major_locator(FixedLocator(log_ticks(*sorted(ends), most=most)))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(float(value))))


def log_ticks(low: Number, high: Number, *, most: int = 6) -> list[Number]:
    """1, 2 and 5 of each decade; only 1 where those are too many, and evenly spaced ones within a part of a decade."""
    first, last = floor(log10(low)) - 1, floor(log10(high)) + 1
    for digits in ((1, 2, 5), (1, 3), (1,)):
        found = [d * 10.0**e for e in range(first, last + 1) for d in digits if low <= d * 10.0**e <= high]
        if len(found) <= most and len(found) > 2:
            return found
    if high / low < 10:
        from matplotlib.ticker import MaxNLocator

        return [float(v) for v in MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high) if low <= v <= high]
    return found[:: -(-len(found) // most)]


def tick_text(value: Number) -> str:
    """A tick: 0.001, 12, 1,500, 1e-5."""
    if value and (abs(value) >= 1e5 or abs(value) < 1e-4):
        digits, _, power = f"{value:.1e}".partition("e")
        return f"{digits.removesuffix('.0')}e{int(power)}".replace("-", MINUS)
    whole = f"{value:.6g}"
    return plain(value, len(whole.partition(".")[2]))


def reference(axes: "Axes", mark: Mark, *, upright: bool = False) -> None:
    """A dashed line with its name at its beginning: few bits and small sizes are the farthest from the original.

    Drawn before the limits are set, so that it lies within them.
    """
    draw = axes.axvline if upright else axes.axhline
    draw(mark.value, color=DIM, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1.5)
    if upright:
        where: dict[str, Any] = {"xy": (mark.value, 1.0), "xycoords": ("data", "axes fraction"), "ha": "center", "va": "bottom"}
    else:
        where = {"xy": (0.0, mark.value), "xycoords": ("axes fraction", "data"), "ha": "left", "va": "bottom"}
    name = axes.annotate(mark.label, xytext=(0 if upright else 5, 3), textcoords="offset points", color=DIM, **where)
    name.set_gid(HALO)
    name.set_in_layout(upright)  # above the axes it needs room, within them it has it


def legend(sheet: Sheet, handles: Mapping[str, Any], title: str = "") -> None:
    """Names above the chart, in as many columns as fit. One name needs none."""
    named = {name: handle for name, handle in handles.items() if name}
    if len(named) < 2:
        return
    found = sheet.canvas.legend(
        list(named.values()),
        list(named),
        loc="outside upper left",
        ncols=_columns(list(named), sheet.narrow),
        handletextpad=0.5,
        columnspacing=1.6,
        borderaxespad=0.2,
        labelcolor=INK,
        title=title or None,
        alignment="left",
    )
    found.get_title().set_color(DIM)


def _columns(names: Sequence[str], narrow: bool) -> int:
    room = 320 if narrow else 940
    widest = max(len(name) for name in names) * 7.5 + 48
    return max(1, min(len(names), int(room / widest)))
