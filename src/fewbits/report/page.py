"""What a page is made of. Plain values: how they look is said elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fewbits.errors import FewbitsError

Number = int | float  # spelled out for the tests, which check types as they are
Best = Literal["", "low", "high"]
Kind = Literal["", "original", "peer", "reported", "failed"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What stands in a table: a text, a smaller note after it (`± 0.3`), and the value by which the best is found."""

    text: str
    note: str = ""
    value: Number | None = None


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column. `best` says which end of its values is marked; `text` columns stand to the left, figures to the right."""

    head: str
    unit: str = ""
    best: Best = ""
    text: bool = False


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row. What is `original`, `reported` or `failed` takes no part in the contest for the best.

    A `failed` row gives its `reason` in place of the cells that it lacks.
    """

    cells: Sequence[Cell | str]
    kind: Kind = ""
    reason: str = ""

    @property
    def contends(self) -> bool:
        return self.kind in ("", "peer")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns and rows. The first column names the row."""

    columns: Sequence[Column]
    rows: Sequence[Line]
    caption: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.columns) and not row.reason:
                raise FewbitsError(
                    f"a table of {len(self.columns)} columns has a row of {len(row.cells)} cells: {row.cells[:1]}"
                )

    def best(self) -> frozenset[tuple[int, int]]:
        """Row and column of every best value; equal ones share the mark, and one row alone has none."""
        found = set()
        for c, column in enumerate(self.columns):
            values = {r: v for r, row in enumerate(self.rows) if row.contends and (v := value_at(row, c)) is not None}
            if column.best and len(values) > 1:
                end = min(values.values()) if column.best == "low" else max(values.values())
                found |= {(r, c) for r, value in values.items() if value == end}
        return frozenset(found)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A chart: the sentence that says what to see in it, the drawings (SVG) for wide and narrow windows, its figures."""

    title: str
    sentence: str
    wide: str
    narrow: str
    data: Table | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Code:
    """Lines to be typed, or shown as they are."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Names and what they are: a protocol, a machine."""

    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A headline figure."""

    label: str
    value: str
    note: str = ""


Part = str | Table | Figure | Code | Facts


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands below it. In texts, what is between `backquotes` is shown as code."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page: a title, what it is about in a sentence or two, headline figures, sections, a last line."""

    title: str
    sections: Sequence[Section]
    lede: str = ""
    tiles: Sequence[Tile] = ()
    foot: str = ""


def cell_of(cell: Cell | str) -> Cell:
    """A cell, of a text too."""
    return Cell(text=cell) if isinstance(cell, str) else cell


def value_at(row: Line, column: int) -> Number | None:
    """The value in a column; None where there is none."""
    return cell_of(row.cells[column]).value if column < len(row.cells) else None
