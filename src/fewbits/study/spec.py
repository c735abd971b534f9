"""A study as its file says it: models, rows, data, measures. See `studies/demo.yaml`, which explains every part."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fewbits.evaluate.settings import Settings
from fewbits.plan import OnMisfit
from fewbits.study.blocks import Blocks
from fewbits.study.results import Reported, Score

ORIGINAL = "as it is"


@dataclass(frozen=True, kw_only=True)
class RowSpec:
    """A row for every model: the original (no rules), a plan, or what another library makes of it.

    `rules` are (pattern, scheme or `keep`) in order; `blocks` give bits by the position of a block and become rules, after
    those, when the model is known. `where` is the file and line, for errors that only the model shows.
    """

    label: str
    where: str
    rules: tuple[tuple[str, str], ...] = ()
    blocks: Blocks | None = None
    on_misfit: OnMisfit = "error"
    peer: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    series: str = ""
    bits: int | float | None = None
    group: int | None = None
    reported: tuple[Reported, ...] = ()

    @property
    def original(self) -> bool:
        return self.peer is None and not self.rules and self.blocks is None


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The whole study. `settings` are those of `fewbits eval`; `alone` and `weights` are schemes of what is told by layer."""

    title: str
    file: str
    text: str
    models: tuple[str, ...]
    rows: tuple[RowSpec, ...]
    settings: Settings
    about: str = ""
    scores: tuple[Score, ...] = ()
    reported: str = ""
    alone: str | None = None
    weights: str | None = None
    lines: Mapping[str, int] = field(default_factory=dict)  # of the keys at the top

    def at(self, key: str) -> str:
        """Where a key stands, for messages."""
        return f"{self.file}, line {self.lines[key]}, '{key}'" if key in self.lines else self.file
