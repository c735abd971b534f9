"""Figures that others reported, given to the rows whose grid values they name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fewbits.document import Value
from fewbits.study.grid import Point
from fewbits.study.quantity import Quantity
from fewbits.study.results import Reported
from fewbits.study.spec import RowSpec


def with_reported(rows: Sequence[RowSpec], points: Sequence[Point], given: Mapping[str, Value]) -> list[RowSpec]:
    """Give each row the figures that were reported for it: those whose grid values are all its own.

    Raises:
        FewbitsError: No row has the grid values, there is no figure, or a row has two figures of one kind.
    """
    if "reported" not in given:
        return list(rows)
    found: list[tuple[Reported, ...]] = [() for _ in rows]
    for each in given["reported"].items():
        figures = each.mapping(what="a number for each measure, such as size_MiB")
        of = {name: v for name, v in figures.items() if name in points[0]}
        told = tuple(_reported(name, v) for name, v in figures.items() if name not in of)
        if not told:
            each.fail("has no figure: give a number for a measure, such as size_MiB")
        hit = [i for i, at in enumerate(points) if all(at[name].plain() == value.plain() for name, value in of.items())]
        if not hit:
            each.fail(f"no row of the grid has {', '.join(f'{k} {v.raw}' for k, v in of.items())}")
        for i in hit:
            found[i] = (*found[i], *told)
            _check_once(each, found[i])
    return [replace(row, reported=figures) for row, figures in zip(rows, found, strict=True)]


def _check_once(value: Value, figures: Sequence[Reported]) -> None:
    seen = [(figure.measure, figure.unit, figure.where) for figure in figures]
    if twice := [each for each in seen if seen.count(each) > 1]:
        value.fail(f"{twice[0][0]} is reported twice for one row")


def _reported(name: str, value: Value) -> Reported:
    text, _, where = name.partition(" @ ")
    quantity = value.checked(lambda: Quantity.parse(text))
    return Reported(measure=quantity.measure, value=value.number(), unit=quantity.unit, where=where.strip())
