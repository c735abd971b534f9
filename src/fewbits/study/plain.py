"""Rows, sensitivities and weights of a study as plain data, and back."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fewbits import planfile
from fewbits.measure.result import Measure
from fewbits.study.results import (
    LayerError,
    LayerLoss,
    LayerWeights,
    Reported,
    RowResult,
    Score,
    Sensitivity,
    StudyResults,
    Weights,
)


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
