"""The map of layers and schemes: what each layer would lose in each scheme, and which it takes."""

from collections.abc import Sequence
from math import log10

from fewbits.report.cells import short
from fewbits.report.charts.theme import INK, LINE, SERIES, Sheet, drawn
from fewbits.report.page import Cell, Column, Figure, Line, Table
from fewbits.search.frontier import Table as Losses
from fewbits.search.space import Space

ROW, LABELS = 17, 60  # pixels a layer, and for the names of schemes
FAINT, FLOOR = 0.06, 1e-6  # of the colour; loss below which a cell is empty


def scheme_map(space: Space, losses: Losses, choice: Sequence[int] | None = None) -> Figure:
    """A row for each layer, a column for each scheme, the darker the more it loses; the ring is what the plan takes."""
    columns = [*space.candidates] if choice is None else [*space.candidates, "keep"]
    cells = [_row(space, losses, u, columns) for u in range(len(space.units))]
    most = max((log10(v) for row in cells for v in row if v is not None and v > FLOOR), default=0.0)
    taken = [] if choice is None else [_column(space, u, c, columns) for u, c in enumerate(choice)]

    def paint(sheet: Sheet) -> None:
        (axes,) = sheet.axes()
        for u, row in enumerate(cells):
            for c, value in enumerate(row):
                depth = _depth(value, most)
                (tile,) = axes.fill(
                    [c - 0.46, c + 0.46, c + 0.46, c - 0.46],
                    [u - 0.44, u - 0.44, u + 0.44, u + 0.44],
                    color=SERIES[0],
                    alpha=depth,
                )
                tile.set_linewidth(0)
                if value is not None:
                    sheet.tell(tile, f"{space.units[u].name}\n{columns[c]}\nloses {short(value)}")
            for at in taken[u : u + 1]:
                axes.plot([at], [u], "o", color=SERIES[1], markersize=6, markerfacecolor="none", markeredgewidth=2, zorder=4)
        axes.set_xlim(-0.6, len(columns) - 0.4)
        axes.set_ylim(len(cells) - 0.4, -0.6)
        axes.set_xticks(range(len(columns)), columns, rotation=90, color=INK)
        axes.xaxis.tick_top()
        names = [unit.name for unit in space.units]
        axes.set_yticks(range(len(names)), [_brief(n) if sheet.narrow else n for n in names], color=INK)
        axes.tick_params(length=0, labelsize=8 if sheet.narrow else 11)
        axes.grid(False)
        axes.spines["left"].set_color(LINE)
        axes.spines["bottom"].set_visible(False)

    height = LABELS + 120 + ROW * len(cells)
    title = "Layers and schemes"
    wide, narrow = drawn(title, paint, wide=height, narrow=height)
    ring = "" if choice is None else " The ring is what the plan takes."
    sentence = f"{_most(space, losses)} The darker, the more a scheme would lose.{ring}"
    return Figure(
        title=title, sentence=sentence, wide=wide, narrow=narrow, data=_table(space, losses, choice or (0,) * len(space.units))
    )


def _row(space: Space, losses: Losses, unit: int, columns: Sequence[str]) -> list[float | None]:
    """Losses by column; None for a candidate that has no form in this layer."""
    options = space.units[unit].options
    found: list[float | None] = []
    for column in columns:
        at = [i for i, option in enumerate(options) if column in option.candidate.split()]
        found.append(losses[unit][at[0]] if at else None)
    return found


def _column(space: Space, unit: int, option: int, columns: Sequence[str]) -> int:
    return columns.index(space.units[unit].options[option].candidate.split()[0])


def _depth(value: float | None, most: float) -> float:
    if value is None:
        return 0.0
    share = (log10(max(value, FLOOR)) - log10(FLOOR)) / max(1e-9, most - log10(FLOOR))
    return FAINT + (1 - FAINT) * min(1.0, max(0.0, share))


def _brief(name: str) -> str:
    return name if len(name) < 24 else "…" + name[-22:]


def _most(space: Space, losses: Losses) -> str:
    """The layer that would lose the most a weight in the first scheme."""
    per_weight = [losses[u][0] / unit.params for u, unit in enumerate(space.units)]
    worst = max(range(len(per_weight)), key=lambda u: per_weight[u])
    unit = space.units[worst]
    return f"`{unit.name}` loses most for its size: {short(losses[worst][0])} in `{unit.options[0]}`."


def _table(space: Space, losses: Losses, choice: Sequence[int]) -> Table:
    rows = [
        Line(cells=(unit.name, str(unit.options[c]), Cell(text=f"{unit.params:,}"), Cell(text=short(losses[u][c]))))
        for u, (unit, c) in enumerate(zip(space.units, choice, strict=True))
    ]
    columns = (Column(head="layer"), Column(head="scheme", text=True), Column(head="weights"), Column(head="loses"))
    return Table(columns=columns, rows=rows)
