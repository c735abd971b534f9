"""The rows of a study as CSV: a line a row, values in the units in which they are stored."""

from fewbits.csvtext import csv_text
from fewbits.study.results import Reported, RowResult, StudyResults


def to_csv(results: StudyResults) -> str:
    """Names of columns carry the unit: `size_B`, `ppl`, `ppl_se`; what was not measured is empty."""
    units = {name: measure.unit for row in results.rows for name, measure in row.measures.items()}
    reported = list(dict.fromkeys(_reported_name(each) for row in results.rows for each in row.reported))
    scores = list(dict.fromkeys(name for row in results.rows for name in row.scores))
    heads = ["model", "row", "made_by", "scheme", "series", "bits", "group", "coverage", "bits_per_weight"]
    for name, unit in units.items():
        heads += [_head(name, unit), f"{name}_se", f"{name}_n"]
    heads += [*scores, *(f"reported_{name}" for name in reported), "seconds", "error"]
    return csv_text([heads, *(_line(row, list(units), scores, reported) for row in results.rows)])


def _line(row: RowResult, names: list[str], scores: list[str], reported: list[str]) -> list[object]:
    size = row.measures.get("size")
    bits = None if size is None else size.parts.get("bits_per_weight")
    plan = row.scheme or ("" if row.plan is None else str(row.plan))
    line: list[object] = [
        row.model,
        row.label,
        row.peer or "fewbits",
        plan,
        row.series,
        row.bits,
        row.group,
        row.coverage,
        bits,
    ]
    for name in names:
        measure = row.measures.get(name)
        line += [None, None, None] if measure is None else [measure.value, measure.se, measure.n]
    told = {_reported_name(each): each.value for each in row.reported}
    return [*line, *(row.scores.get(name) for name in scores), *(told.get(name) for name in reported), row.seconds, row.error]


def _head(name: str, unit: str) -> str:
    return f"{name}_{unit}" if unit and unit not in ("ratio", "share", "1") else name


def _reported_name(each: Reported) -> str:
    parts = (each.measure, each.unit, each.where)
    return "_".join(part for part in parts if part)
