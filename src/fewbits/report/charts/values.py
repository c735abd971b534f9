"""What charts are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Scale:
    """An axis: what it tells, with its unit; `log` needs values above 0; `limit` cuts off what would squash the rest."""

    label: str
    log: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A point of a scatter or a line. `low` and `high` end its bar of uncertainty (on y).

    `label` stands beside it where there is room; `tip` is told when one points at it (made of the figures, if empty).
    """

    x: float
    y: float
    series: str = ""
    label: str = ""
    tip: str = ""
    low: float | None = None
    high: float | None = None
    hollow: bool = False


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A reference: a dashed line at a value, with its name."""

    value: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A horizontal bar: its name, value, uncertainty, colour by `series`."""

    label: str
    value: float
    series: str = ""
    low: float | None = None
    high: float | None = None
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A horizontal bar in parts: value by part."""

    label: str
    parts: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How the values of one layer lie: least, 1 %, 25 %, 50 %, 75 %, 99 %, largest; and the grid they are rounded to."""

    panel: str
    x: int | str
    quantiles: tuple[float, float, float, float, float, float, float]
    grid: Sequence[float] = ()
    tip: str = ""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts between edges (one more edge than counts), and a grid drawn over them."""

    title: str
    edges: Sequence[float]
    counts: Sequence[int]
    grid: Sequence[float] = ()
    note: str = ""
    marks: Sequence[Mark] = field(default_factory=tuple)
