"""Names beside points, where there is room: none on another name, on a point or beyond the edge."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from fewbits.report.charts.theme import INK, Sheet
from fewbits.report.charts.values import Mark
from fewbits.report.page import Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

_NEAR = 8  # pixels from the middle of a point to its name
_ROOMS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1))  # tried in this order


class Box(NamedTuple):
    """A rectangle in pixels."""

    left: Number
    bottom: Number
    right: Number
    top: Number

    def meets(self, other: "Box") -> bool:
        return self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top

    def within(self, other: "Box") -> bool:
        return self.left >= other.left and self.right <= other.right and self.bottom >= other.bottom and self.top <= other.top


def place(
    sheet: Sheet,
    axes: "Axes",
    names: Sequence[tuple[Number, Number, str]],
    points: Sequence[tuple[Number, Number]],
    mark: Mark | None = None,
) -> None:
    """Write each name (at x, y in data) where it fits, in their order; what fits nowhere is left to the tooltip."""
    sheet.canvas.draw_without_rendering()  # settles the layout, so that pixels are known
    size = 11.0 if sheet.narrow else 12.5
    frame = axes.get_window_extent()
    edge = Box(float(frame.x0), float(frame.y0), float(frame.x1), float(frame.y1))
    taken = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in (_pixels(axes, *point) for point in points)]
    if mark is not None:  # the reference has its name at its beginning
        y = _pixels(axes, 1.0, mark.value)[1]
        taken.append(Box(edge.left, y, edge.left + 8 + 0.58 * size * len(mark.label), y + size + 5))
    for x, y, name in names:
        at = _pixels(axes, x, y)
        for room in _ROOMS:
            box = _box(at[0], at[1], room, 0.58 * size * len(name), size)
            if box.within(edge) and not any(box.meets(other) for other in taken):
                taken.append(box)
                sheet.outline(_write(axes, (x, y), room, name, size))
                break


def _pixels(axes: "Axes", x: Number, y: Number) -> tuple[float, float]:
    at = axes.transData.transform((x, y))
    return float(at[0]), float(at[1])


def _box(x: Number, y: Number, room: tuple[int, int], width: Number, height: Number) -> Box:
    right, up = room
    near = _NEAR if not (right and up) else _NEAR * 0.6
    left = x + near if right > 0 else x - near - width if right < 0 else x - width / 2
    bottom = y + near if up > 0 else y - near - height if up < 0 else y - height / 2
    return Box(left, bottom, left + width, bottom + height)


def _write(axes: "Axes", at: tuple[Number, Number], room: tuple[int, int], name: str, size: Number) -> "Annotation":
    right, up = room
    near = _NEAR if not (right and up) else _NEAR * 0.6
    text = axes.annotate(
        name,
        at,
        xytext=(right * near, up * near),
        textcoords="offset points",
        ha={1: "left", -1: "right", 0: "center"}[right],
        va={1: "bottom", -1: "top", 0: "center"}[up],
        fontsize=size,
        color=INK,
    )
    text.set_in_layout(False)
    return text
