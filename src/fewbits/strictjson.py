"""JSON that every parser accepts: no NaN, no Infinity, no lone surrogates.

Python's `json` writes `NaN` and `Infinity`, which RFC 8259 forbids. Here a value that is not finite is written as null, and the
key beside it says what it was: `{"value": null, "value_reason": "not finite: inf"}`. `loads` undoes this. Values inside a list
are named by their index: `{"loss": [0.1, null], "loss_reason": "not finite: [1] nan"}`.
"""

import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

SUFFIX, PREFIX = "_reason", "not finite: "
_SURROGATE = re.compile("[\ud800-\udfff]")
_ENTRY = re.compile(r"((?:\[\d+\])*) ?(nan|inf|-inf)")


def dumps(data: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """Write data as strict JSON, in UTF-8 text without escapes where none are needed.

    Args:
        data: Mappings, lists, tuples, strings, numbers, booleans and None.
        indent: Spaces per level; None writes one line.
        sort_keys: Whether the keys of a mapping are sorted.

    Raises:
        TypeError: For a value that JSON cannot hold.
    """
    return json.dumps(strict(data), indent=indent, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False)


def loads(text: str | bytes) -> Any:
    """Read JSON that `dumps` wrote, with NaN and Infinity restored.

    Raises:
        ValueError: For text that is no JSON, or is nested too deeply.
    """
    try:
        return _restored(json.loads(text))
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def strict(data: Any) -> Any:
    """The data with null and a reason for each number that is not finite, and U+FFFD for each lone surrogate."""
    plain, _ = _plain(data)
    return plain


def well_formed(text: str) -> str:
    """The text with U+FFFD in place of lone surrogates, which UTF-8 cannot encode."""
    return _SURROGATE.sub("\ufffd", text)


def _plain(data: Any) -> tuple[Any, list[str]]:
    """The value as written, and what is not finite in it: `nan` for itself, `[2] nan` for an entry of a list."""
    if isinstance(data, str):
        return well_formed(data), []
    if isinstance(data, float):
        return (data, []) if isfinite(data) else (None, [str(float(data))])
    if isinstance(data, Mapping):
        return _plain_mapping(data), []
    if isinstance(data, list | tuple):
        made, found = [], []
        for at, value in enumerate(data):
            plain, inside = _plain(value)
            made.append(plain)
            found += [f"[{at}]{'' if each.startswith('[') else ' '}{each}" for each in inside]
        return made, found
    return data, []


def _plain_mapping(data: Mapping[Any, Any]) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for name, value in data.items():
        key = _key(name)
        made[key], found = _plain(value)
        if found:
            made[f"{key}{SUFFIX}"] = PREFIX + ", ".join(found)
    return made


def _key(name: Any) -> Any:
    """A key that `json` accepts: a float that is not finite as text."""
    if isinstance(name, float) and not isfinite(name):
        return str(name)
    return well_formed(name) if isinstance(name, str) else name


def _restored(data: Any) -> Any:
    if isinstance(data, list):
        return [_restored(value) for value in data]
    if not isinstance(data, dict):
        return data
    made = {key: _restored(value) for key, value in data.items()}
    for key, reason in data.items():
        name = key.removesuffix(SUFFIX)
        if name != key and name in made and isinstance(reason, str) and reason.startswith(PREFIX):
            for entry in reason.removeprefix(PREFIX).split(", "):
                _put_back(made, name, entry)
            del made[key]
    return made


def _put_back(made: dict[str, Any], name: str, entry: str) -> None:
    if (found := _ENTRY.fullmatch(entry)) is None:
        return
    at: Any = made
    path: list[Any] = [name, *(int(index) for index in re.findall(r"\d+", found[1]))]
    for step in path[:-1]:
        at = at[step]
    if at[path[-1]] is None:
        at[path[-1]] = float(found[2])
