import pytest

from fewbits.errors import FewbitsError
from fewbits.measure.result import Measure
from fewbits.study.quantity import Quantity
from fewbits.study.score import Expression


def value(text: str) -> int | float | bool | None:
    """Of a model of 16 MiB, 89.5 % accuracy, 40 tokens/s beside 30 of the original; `ppl` was not measured."""
    measures = {
        "size": Measure(name="size", value=16 * 2**20, unit="B", parts={"bits_per_weight": 4.25}),
        "accuracy": Measure(name="accuracy", value=0.895, unit=""),
        "decode_speed": Measure(name="decode_speed", value=40.0, unit="tokens/s"),
        "latency": Measure(name="latency", value=0.25, unit="s"),
    }
    beside = {"decode_speed": Measure(name="decode_speed", value=30.0, unit="tokens/s")}
    return Expression(text).of(lambda quantity: quantity.of(measures, beside, 0.9))


def test_the_score_of_the_report() -> None:
    assert value("37 - size_MiB - 10*max(0, 90 - accuracy)") == pytest.approx(37 - 16 - 10 * 0.5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("size", 16 * 2**20),
        ("size_MB", 16.777216),
        ("accuracy_share", 0.895),
        ("latency_ms / 2", 125.0),
        ("bits", 4.25),
        ("coverage", 90.0),
        ("decode_speed_x", 4 / 3),
        ("-abs(-3) + min(2, 1, 5)", -2),
        ("decode_speed_x >= 1.3 and accuracy > 89", True),
        ("not (1 < size_MiB < 16)", True),
        ("accuracy > 90 or 2 == 2", True),
    ],
)
def test_units_and_operators(text: str, expected: float | bool) -> None:
    assert value(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["ppl", "37 - ppl", "latency_x", "1 / (accuracy - accuracy)"])
def test_what_cannot_be_computed_is_none(text: str) -> None:
    assert value(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *(
            "__import__('os').system('true')",
            "size.real",
            "(lambda: 1)()",
            "[1]",
            "'a'",
            "True",
            "f'{size}'",
            "size if 1 else 2",
        ),
        *("9**9**9", "size % 2", "max(1)", "abs(1, 2)", "max(*[1, 2])", "open('x')", "size_KG", "sise", "1 +", "", "(" * 300),
        "1" + "+1" * 300,
    ],
)
def test_all_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(FewbitsError) as error:
        Expression(text)
    assert "\n" not in str(error.value)


def test_what_was_meant() -> None:
    with pytest.raises(FewbitsError, match="did you mean 'accuracy'"):
        Quantity.parse("acuracy")
    with pytest.raises(FewbitsError, match="KiB, MiB"):
        Quantity.parse("size_KG")
