"""Grids of a row: every combination of named values, put into texts as `{name}`. Nothing else in braces means anything."""

import itertools
import re
from collections.abc import Mapping, Sequence
from math import prod

from fewbits.document import Value

MOST_ROWS = 1_000  # of one grid
MOST_TEXT = 80  # characters of one value
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SLOT = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_QUANTIFIER = re.compile(r"\\[{}]|\{[0-9]*,?[0-9]*\}")  # of a regular expression

Point = Mapping[str, Value]


def combinations(given: Mapping[str, Value], reserved: Sequence[str] = ()) -> list[Point]:
    """Every combination of the values under `grid`; one empty one without a grid.

    Raises:
        FewbitsError: A name is no word or is reserved, a name has no values or one twice, or there are too many rows.
    """
    if "grid" not in given:
        return [{}]
    grid = given["grid"]
    axes = grid.mapping(what="a list of values for each name")
    if not axes:
        grid.fail("is empty: give a list of values for each name, or leave the key out")
    for name, axis in axes.items():
        _check_axis(name, axis, grid, reserved)
    count = prod(len(axis.items()) for axis in axes.values())
    if count > MOST_ROWS:
        grid.fail(f"makes {count:,} rows, more than {MOST_ROWS:,}: give fewer values")
    values = {name: axis.items() for name, axis in axes.items()}
    return [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]


def filled(value: Value, at: Point, *, text: str | None = None) -> str:
    """The text of a value with each `{name}` replaced by what the grid has for it. Fails for any other brace."""
    plain = value.text() if text is None else text
    made = _SLOT.sub(lambda slot: at[slot[1]].raw.strip() if slot[1] in at else _unknown(value, slot[0], at), plain)
    rest = _QUANTIFIER.sub("", _SLOT.sub("", plain)) if plain.startswith("re:") else _SLOT.sub("", plain)
    if "{" in rest or "}" in rest:
        value.fail(f"'{plain:.80}': only {{name}} with a name of the grid goes in braces ({_names(at)})")
    return made


def names_in(text: str) -> set[str]:
    """The names in braces."""
    return set(_SLOT.findall(text))


def _unknown(value: Value, slot: str, at: Point) -> str:
    value.fail(f"'{slot[1:-1]:.40}' is no name in the grid ({_names(at)})")


def _names(at: Point) -> str:
    return ", ".join(at) or "there is none"


def _check_axis(name: str, axis: Value, grid: Value, reserved: Sequence[str]) -> None:
    place = grid.at_key(name)
    if not _NAME.fullmatch(name):
        place.fail("the name of an axis has letters, digits and _ only, and begins with a letter")
    if name in reserved:
        place.fail(f"'{name}' comes from 'blocks' in this row: leave it out of the grid")
    seen: dict[str, int] = {}
    for each in axis.items():
        if isinstance(each.data, dict | list) or each.data is None:
            each.fail(f"a value of a grid is a word or a number, not {each.shown}")
        if len(each.raw) > MOST_TEXT:
            each.fail(f"a value of {len(each.raw):,} characters is too long: at most {MOST_TEXT}")
        if each.raw in seen:
            place.fail(f"has {each.raw} twice, first in line {seen[each.raw]}")
        seen[each.raw] = each.line
