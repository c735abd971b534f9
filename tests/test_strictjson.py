"""Strict JSON: what it writes, every parser accepts; what it wrote, it reads back."""

import json
from math import inf, isnan, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewbits import strictjson

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
    max_leaves=20,
)


def refuse(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def strict(text: str) -> Any:
    text.encode()
    return json.loads(text, parse_constant=refuse)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (isinstance(a, float) and isinstance(b, float) and isnan(a) and isnan(b))


def test_not_finite_is_null_with_a_reason() -> None:
    written = strict(strictjson.dumps({"value": inf, "se": nan, "loss": [1.0, -inf, [nan]], "fine": 1.5}))
    assert written == {
        "value": None,
        "value_reason": "not finite: inf",
        "se": None,
        "se_reason": "not finite: nan",
        "loss": [1.0, None, [None]],
        "loss_reason": "not finite: [1] -inf, [2][0] nan",
        "fine": 1.5,
    }


def test_lone_surrogates_are_replaced() -> None:
    assert strict(strictjson.dumps({"a\ud800": "b\udfff"})) == {"a\ufffd": "b\ufffd"}


@given(VALUES)
def test_comes_back(data: Any) -> None:
    text = strictjson.dumps({"data": data})
    strict(text)
    assert same(strictjson.loads(text)["data"], data)


def test_too_deep_is_an_error() -> None:
    with pytest.raises(ValueError):
        strictjson.loads("[" * 200_000)


def test_a_reason_that_fits_nothing_is_left() -> None:
    assert strictjson.loads('{"a": 1, "a_reason": "not finite: nan"}') == {"a": 1}
    assert strictjson.loads('{"b_reason": "not finite: nan"}') == {"b_reason": "not finite: nan"}


def test_keys_that_are_not_finite_are_text() -> None:
    assert strict(strictjson.dumps({nan: 1, inf: 2})) == {"nan": 1, "inf": 2}


def test_finite_numbers_are_unchanged() -> None:
    data = {"a": 0.1 + 0.2, "b": -1e-320, "c": 2**70, "d": True, "e": None, "f": "é"}
    assert json.loads(strictjson.dumps(data)) == data
    assert "é" in strictjson.dumps(data)
    assert strictjson.strict(data) == data


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError):
        strictjson.dumps({"a": object()})
