"""What a study came to: rows of measures, what each layer loses, how weights lie. Plain data, kept as DIR/results.json.

`load(folder)` gives all that a report draws; `save` writes it whole or not at all. Nothing heavy is imported.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fewbits import planfile
from fewbits.errors import FewbitsError
from fewbits.evaluate.row import Row
from fewbits.measure.result import Measure
from fewbits.plan import Plan
from fewbits.study.files import write_whole

FILE = "results.json"
VERSION = 1  # of the file


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
    `error` says why there are no measures, in one line. `scores` are by name: a number, a yes or no, None where it lacks a
    measure.
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
    seconds: float | None = None

    def row(self) -> Row:
        """As the commands that measure tell of a model."""
        extra = {"label": self.label, "peer": self.peer, "error": self.error, "scores": dict(self.scores)}
        given = {name: value for name, value in extra.items() if value not in (None, {})}
        return Row(model=self.model, plan=self.plan, measures=self.measures, notes=self.notes, extra=given)


@dataclass(frozen=True, kw_only=True)
class LayerLoss:
    """What the model loses when this layer alone is quantized."""

    name: str
    kind: str
    params: int
    loss: float


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
    weights beyond the ends of their own group's grid by more than half a step.
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
    """A whole study. `file` is the YAML it was made from, `text` what stood in it; `missing` counts items not run yet.

    `columns` are the measures in the order of the file; `data` says what was read; `reported` whose figures stand beside ours.
    """

    title: str
    about: str = ""
    file: str = ""
    text: str = ""
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


def save(results: StudyResults, folder: Path) -> Path:
    """Write DIR/results.json, whole or not at all."""
    path = folder / FILE
    write_whole(path, json.dumps({"version": VERSION, **to_dict(results)}, ensure_ascii=False, indent=1))
    return path


def load(folder: Path) -> StudyResults:
    """Read DIR/results.json. Raises FewbitsError for a folder without one, or one that is damaged or of another version."""
    path = folder / FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FewbitsError(f"{folder}: has no {FILE}: it is made by `fewbits study FILE.yaml -o {folder}`") from None
    except (OSError, ValueError) as error:
        raise FewbitsError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict) or data.pop("version", None) != VERSION:
        raise FewbitsError(f"{path}: is not of version {VERSION}: run the study again, what is done is kept")
    try:
        return from_dict(data)
    except (TypeError, KeyError, AttributeError) as error:
        raise FewbitsError(f"{path}: is damaged ({error}): run the study again, what is done is kept") from None


def to_dict(results: StudyResults) -> dict[str, Any]:
    """Plain data."""
    data = {**vars(results), "rows": [row_to_dict(row) for row in results.rows]}
    for name in ("scores", "sensitivities", "weights"):
        data[name] = [asdict(each) for each in data[name]]
    return data


def from_dict(data: Mapping[str, Any]) -> StudyResults:
    """Undo `to_dict`."""
    return StudyResults(
        **{
            **data,
            "columns": tuple(data["columns"]),
            "data": tuple(data["data"]),
            "scores": tuple(Score(**each) for each in data["scores"]),
            "rows": tuple(row_from_dict(each) for each in data["rows"]),
            "sensitivities": tuple(sensitivity_from_dict(each) for each in data["sensitivities"]),
            "weights": tuple(weights_from_dict(each) for each in data["weights"]),
        }
    )


def row_to_dict(row: RowResult) -> dict[str, Any]:
    """Plain data, without what is empty."""
    data = vars(row) | {
        "plan": None if row.plan is None else planfile.to_dict(row.plan),
        "measures": {name: measure.to_dict() for name, measure in row.measures.items()},
        "beside": {name: measure.to_dict() for name, measure in row.beside.items()},
        "scores": dict(row.scores),
        "reported": [asdict(each) for each in row.reported],
        "layers": [asdict(each) for each in row.layers],
        "notes": list(row.notes),
    }
    return {name: value for name, value in data.items() if not (value is None or value is False or value in ("", [], {}))}


def row_from_dict(data: Mapping[str, Any]) -> RowResult:
    """Undo `row_to_dict`."""
    return RowResult(
        **{
            **data,
            "plan": planfile.from_dict(data["plan"]) if "plan" in data else None,
            "measures": _measures(data.get("measures", {})),
            "beside": _measures(data.get("beside", {})),
            "reported": tuple(Reported(**each) for each in data.get("reported", ())),
            "layers": tuple(LayerError(**each) for each in data.get("layers", ())),
            "notes": tuple(data.get("notes", ())),
        }
    )


def sensitivity_from_dict(data: Mapping[str, Any]) -> Sensitivity:
    """Undo `asdict`."""
    return Sensitivity(**{**data, "layers": tuple(LayerLoss(**each) for each in data["layers"])})


def weights_from_dict(data: Mapping[str, Any]) -> Weights:
    """Undo `asdict`."""
    layers = [{**each, "counts": tuple(each["counts"]), "grid": tuple(each["grid"])} for each in data["layers"]]
    return Weights(**{**data, "layers": tuple(LayerWeights(**each) for each in layers)})


def _measures(data: Mapping[str, Any]) -> dict[str, Measure]:
    return {name: Measure(**{"name": name, "unit": "", **each}) for name, each in data.items()}
