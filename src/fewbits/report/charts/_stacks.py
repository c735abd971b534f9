"""Horizontal bars in parts, such as bytes by type."""

from collections.abc import Sequence

from fewbits.report.cells import short
from fewbits.report.charts._axes import legend, set_x
from fewbits.report.charts._bars import ROW, above_the_bars
from fewbits.report.charts._tables import table_of_stacks
from fewbits.report.charts.theme import CARD, INK, Sheet, colours, drawn
from fewbits.report.charts.values import Scale, Stack
from fewbits.report.page import Figure


def stacks(title: str, ones: Sequence[Stack], *, x: Scale, sentence: str, note: str = "") -> Figure:
    """A bar each, from above to below; parts from left to right in the order of their first coming, the sum at the end."""
    looks = colours([name for stack in ones for name in stack.parts])

    def paint(sheet: Sheet) -> None:
        (axes,) = sheet.axes()
        handles = {}
        for at, stack in enumerate(ones):
            left = 0.0
            for name in looks:
                value = stack.parts.get(name, 0.0)
                if not value:
                    continue
                made = axes.barh(
                    at, value, left=left, height=0.62, color=looks[name][0], edgecolor=CARD, linewidth=0.8, zorder=2
                )
                sheet.tell(made[0], f"{stack.label}\n{name}: {short(value)}\nall: {short(sum(stack.parts.values()))}")
                handles.setdefault(name, made)
                left += value
            axes.annotate(short(left), (left, at), xytext=(6, 0), textcoords="offset points", va="center", color=INK)
        axes.set_yticks(range(len(ones)), [stack.label for stack in ones], color=INK)
        axes.set_ylim(len(ones) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        axes.margins(x=0.16 if sheet.narrow else 0.08)
        set_x(axes, x, most=4 if sheet.narrow else 8)
        axes.set_xlim(left=0)
        if sheet.narrow:
            above_the_bars(axes, [stack.label for stack in ones])
        legend(sheet, {name: handles[name] for name in looks if name in handles})

    wide, narrow = drawn(title, paint, wide=90 + ROW * len(ones), narrow=100 + int(ROW * 1.6) * len(ones))
    return Figure(title=title, sentence=sentence, wide=wide, narrow=narrow, data=table_of_stacks(ones, x), note=note)
