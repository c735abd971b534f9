"""What a study came to: rows of measures, what each layer loses, how weights lie. `saved` keeps it as DIR/results.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fewbits.evaluate.row import Row
from fewbits.measure.result import Measure
from fewbits.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Reported:
    """A figure that others reported for a row, to stand beside what was measured.

    `measure` is the name of one of ours; `value` is in `unit` as they wrote it (`MiB`, `%`, `tokens/s`, `x` for a multiple of
    the original); `where` tells two machines apart, empty for one.
    """

    measure: str
    value: int | float
    unit: str
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class LayerError:
    """Relative error of one quantized layer, ||W - deq(W)|| / ||W||, and its largest single error in units of the weights."""

    name: str
    kind: str
    params: int
    scheme: str
    error: float
    worst: float


@dataclass(frozen=True, kw_only=True)
class RowResult:
    """One model under one plan, or as another library made it.

    `key` is the hash of all that made it. `measures` are ours by name; `beside` are those of the original, timed in turn with
    this model, so that a ratio of speeds is fair. `series` names the line of a chart that the row is a point of, `bits` and
    `group` its place there (`group` 0: one scale a channel). `peer` is the library and version that made it, None for ours.
    `error` says why there are no measures, in one line; `skipped` that an optional library is missing. `scores` are by name: a
    number, a yes or no, None where it lacks a measure.
    """

    key: str
    model: str
    label: str
    plan: Plan | None = None
    scheme: str = ""
    coverage: float = 0.0
    original: bool = False
    peer: str | None = None
    series: str = ""
    bits: int | float | None = None
    group: int | None = None
    measures: Mapping[str, Measure] = field(default_factory=dict)
    beside: Mapping[str, Measure] = field(default_factory=dict)
    scores: Mapping[str, int | float | bool | None] = field(default_factory=dict)
    reported: tuple[Reported, ...] = ()
    layers: tuple[LayerError, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None
    skipped: bool = False
    seconds: float | None = None

    def row(self) -> Row:
        """As the commands that measure tell of a model."""
        extra = {"label": self.label, "peer": self.peer, "error": self.error, "scores": dict(self.scores)}
        given = {name: value for name, value in extra.items() if value not in (None, {})}
        return Row(model=self.model, plan=self.plan, measures=self.measures, notes=self.notes, extra=given)


@dataclass(frozen=True, kw_only=True)
class LayerLoss:
    """What the model loses when this layer alone is quantized. `scheme` is the one it took if its groups had to change."""

    name: str
    kind: str
    params: int
    loss: float
    scheme: str = ""


def other_schemes(scheme: str, layers: Sequence["LayerLoss | LayerWeights"]) -> str:
    """A sentence on the layers that took another scheme than the one that was asked for; empty if none did."""
    changed = [layer for layer in layers if layer.scheme]
    if not changed:
        return ""
    took = ", ".join(dict.fromkeys(layer.scheme for layer in changed))
    names = ", ".join(f"`{layer.name}`" for layer in changed[:5]) + (", ..." if len(changed) > 5 else "")
    return f"{len(changed)} of {len(layers)} layers took {took} in place of {scheme}, whose groups do not divide them: {names}."


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """The loss of each layer of a model when it alone takes `scheme`, in `unit`, on `data` (as `protocol` says)."""

    key: str
    model: str
    scheme: str
    unit: str = "nats"
    protocol: str = ""
    data: str = ""
    layers: tuple[LayerLoss, ...] = ()
    error: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class LayerWeights:
    """How the weights of a layer lie: `counts` in equal bins from `low` to `high`, both included.

    `grid` are the values that a group of middling scale can take under the scheme, ascending; `outside` is the share of
    weights beyond the ends of their own group's grid by more than half a step. `scheme` is the one it took if its groups had
    to change.
    """

    name: str
    kind: str
    params: int
    low: float
    high: float
    counts: tuple[int, ...]
    std: float
    kurtosis: float
    grid: tuple[float, ...]
    outside: float
    scheme: str = ""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights of a model by layer, with the grid of `scheme`."""

    key: str
    model: str
    scheme: str
    layers: tuple[LayerWeights, ...] = ()
    error: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Score:
    """A column that is computed: its name and the expression over measures."""

    name: str
    expression: str


@dataclass(frozen=True, kw_only=True)
class StudyResults:
    """A whole study. `file` is the YAML it was made from, `text` its content, `command` what was run; `missing` counts items not
    run yet.

    `columns` are the measures in the order of the file; `data` says what was read; `reported` whose figures stand beside ours.
    """

    title: str
    about: str = ""
    file: str = ""
    text: str = ""
    command: str = ""
    columns: tuple[str, ...] = ()
    scores: tuple[Score, ...] = ()
    data: tuple[str, ...] = ()
    reported: str = ""
    machine: Mapping[str, Any] = field(default_factory=dict)
    fewbits: str = ""
    rows: tuple[RowResult, ...] = ()
    sensitivities: tuple[Sensitivity, ...] = ()
    weights: tuple[Weights, ...] = ()
    missing: int = 0
