"""What charts are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fewbits.report.page import Number


@dataclass(frozen=True, kw_only=True)
class Scale:
    """An axis: what it tells, with its unit; `log` needs values above 0; `limit` cuts off what would squash the rest."""

    label: str
    log: bool = False
    low: Number | None = None
    high: Number | None = None


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A point of a scatter or a line. `low` and `high` end its bar of uncertainty (on y).

    `label` stands beside it where there is room; `tip` is told when one points at it (made of the figures, if empty).
    """

    x: Number
    y: Number
    series: str = ""
    label: str = ""
    tip: str = ""
    low: Number | None = None
    high: Number | None = None
    hollow: bool = False


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A reference: a dashed line at a value, with its name."""

    value: Number
    label: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A horizontal bar: its name, value, uncertainty, colour by `series`."""

    label: str
    value: Number
    series: str = ""
    low: Number | None = None
    high: Number | None = None
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A horizontal bar in parts: value by part."""

    label: str
    parts: Mapping[str, Number]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How the values of one layer lie: least, 1 %, 25 %, 50 %, 75 %, 99 %, largest; and the grid they are rounded to."""

    panel: str
    x: int | str
    quantiles: tuple[Number, Number, Number, Number, Number, Number, Number]
    grid: Sequence[Number] = ()
    tip: str = ""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts between edges (one more edge than counts), and a grid drawn over them."""

    title: str
    edges: Sequence[Number]
    counts: Sequence[int]
    grid: Sequence[Number] = ()
    note: str = ""
    marks: Sequence[Mark] = field(default_factory=tuple)
