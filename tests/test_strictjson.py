"""Documents are strict JSON whatever figures are in them."""

import json
import math

import pytest

from fewbits.strictjson import dumps, strict


def _refuse(token: str) -> None:
    raise AssertionError(f"{token} is not JSON")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_write_is_null(value: float) -> None:
    data = {"a": value, "b": [1.5, (value, {"c": value})], value: 1}
    text = dumps(data)
    back = json.loads(text, parse_constant=_refuse)
    assert back == {"a": None, "b": [1.5, [None, {"c": None}]], str(value): 1}


def test_finite_numbers_are_unchanged() -> None:
    data = {"a": 0.1 + 0.2, "b": -1e-320, "c": 2**70, "d": True, "e": None, "f": "é"}
    assert json.loads(dumps(data)) == data
    assert "é" in dumps(data)
    assert strict(data) == data


def test_unpaired_surrogates_can_be_written_as_utf8() -> None:
    text = dumps({"name": "a\udcff"})
    assert json.loads(text.encode("utf-8")) == {"name": "a\udcff"}


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError):
        dumps({"a": object()})
