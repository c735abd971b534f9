import pytest

from fewbits.document import Value
from fewbits.errors import FewbitsError
from fewbits.strictyaml import parse


def read(text: str) -> Value:
    return parse(text, "s.yaml")


def test_values_know_their_line_and_key() -> None:
    top = read("a: 1\nb:\n  - x\n  - {c: yes, d: 2.5}\n").mapping(("a", "b"))
    assert (top["a"].whole(), top["a"].line) == (1, 1)
    second = top["b"].items()[1]
    assert (second.line, second.plain()) == (4, {"c": True, "d": 2.5})
    assert second.mapping()["d"].number() == 2.5


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a: 1\nb: [", ("line 2",)),
        ("a: 1\na: 2", ("line 2", "'a'", "twice", "line 1")),
        ("", ("empty",)),
        ("? [x]\n: 1", ("line 1", "a key is to be a word")),
        ("a: 2024-13-45", ("line 1", "'a'")),
    ],
)
def test_what_is_no_yaml_is_named_by_its_line(text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(FewbitsError) as error:
        read(text)
    assert not [part for part in ("s.yaml", *parts) if part not in str(error.value)], error.value
    assert "\n" not in str(error.value)


def test_an_unknown_key_is_named_with_what_is_allowed_and_meant() -> None:
    with pytest.raises(
        FewbitsError, match=r"s.yaml, line 2, 'mesures': unknown key; allowed here are a, measures; did you mean"
    ):
        read("a: 1\nmesures: 2").mapping(("a", "measures"))


def test_a_place_is_named_once() -> None:
    value = read("a: [1]\n").mapping()["a"]
    with pytest.raises(FewbitsError) as refused:
        value.checked(value.text)
    assert str(refused.value).count("s.yaml") == 1


def test_the_wrong_kind_of_value_is_named() -> None:
    top = read("a: [1]\nb: yes\nc: x\n").mapping()
    for call, part in [
        (top["a"].text, "a text"),
        (top["b"].whole, "whole number"),
        (top["b"].number, "a number"),
        (top["c"].mapping, "a mapping"),
        (lambda: top["c"].one_of(("xx", "y")), "not one of xx, y"),
    ]:
        with pytest.raises(FewbitsError, match=part):
            call()
