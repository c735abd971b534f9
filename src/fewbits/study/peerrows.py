"""Rows that another library makes: its options, each of the type that it has, from the row or from the grid."""

import types
from collections.abc import Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from fewbits.document import Value
from fewbits.study.grid import Point
from fewbits.study.spec import RowSpec


def peer_row(
    given: Mapping[str, Value], at: Point, name: str, series: str, common: dict[str, Any], keys: Sequence[str]
) -> RowSpec:
    """The row of one combination of the grid; `keys` are those that are no options of the library.

    Raises:
        FewbitsError: An option is unknown, of another type, or given both in the row and in the grid.
    """
    from fewbits import peers

    library = given["peer"].one_of(peers.names())
    types_of = peers.types_of(library)
    options: dict[str, Any] = {}
    for key, value in given.items():
        if key not in ("peer", *keys):
            if key not in types_of:
                allowed = f"{library} has {', '.join(types_of)}, and every row {', '.join(keys)}"
                Value(data=None, line=value.line, key=key, file=value.file).fail(f"unknown key; {allowed}")
            options[key] = _typed(value, types_of[key])
    for key, value in at.items():
        if key not in types_of:
            given["grid"].fail(f"{library} has no option '{key}': {', '.join(types_of)}")
        if key in options:
            given["grid"].at_key(key).fail(f"'{key}' is in the row too: give it once")
        options[key] = _typed(value, types_of[key])
    peer = given["peer"].checked(lambda: peers.make(library, options))
    return RowSpec(
        label=name or f"{library} {peer.label}",
        peer=library,
        options=options,
        series=series or f"{library} {peer.series}".strip(),
        bits=peer.nominal_bits,
        group=peer.nominal_group,
        **common,
    )


def _typed(value: Value, kind: Any) -> Any:
    """The value, if it is of the option's type. A truth value is no number."""
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    if value.data is None and type(None) in kinds:
        return None
    if isinstance(value.data, bool):
        return value.data if bool in kinds else value.fail(f"is to be {_named(kinds)}, not {value.shown}")
    if int in kinds and isinstance(value.data, int):
        return value.whole(least=0)
    if float in kinds and isinstance(value.data, int | float):
        return float(value.number())
    if isinstance(value.data, str) and not {int, float, bool}.issuperset(kinds):
        return value.text()
    return value.fail(f"is to be {_named(kinds)}, not {value.shown}")


def _named(kinds: Sequence[Any]) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", type(None): "null"}
    return " or ".join(dict.fromkeys(names.get(kind, "a word") for kind in kinds))
