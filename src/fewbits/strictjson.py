"""Strict JSON (RFC 8259): no NaN, Infinity or -Infinity tokens, which most parsers other than Python's refuse."""

import json
import math
from collections.abc import Mapping
from typing import Any


def dumps(data: Any, *, indent: int | None = None) -> str:
    """Plain data as strict JSON text, UTF-8 characters as they are.

    Args:
        data: Dicts, lists, tuples, strings, numbers, booleans and None, nested.
        indent: Spaces per level; None writes one line.

    Returns:
        The text. Floats that are NaN or infinite are written as null; unpaired surrogates are escaped.

    Raises:
        TypeError: A value of another type.
    """
    text = json.dumps(strict(data), ensure_ascii=False, allow_nan=False, indent=indent)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # unpaired surrogates, as in file names that are not UTF-8
        return json.dumps(strict(data), ensure_ascii=True, allow_nan=False, indent=indent)
    return text


def strict(data: Any) -> Any:
    """The same data with None for floats that JSON cannot write: NaN and the infinities."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {_key(key): strict(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [strict(value) for value in data]
    return data


def _key(key: Any) -> Any:
    """A float key as text: json.dumps writes a NaN key as a string, but refuses it without allow_nan."""
    return str(key) if isinstance(key, float) and not math.isfinite(key) else key
