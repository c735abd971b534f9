import math

import pytest

from fewbits.report.cells import mib, number, plain, short


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.02921, "0.0292"),
        (33.219, "33.2"),
        (1161.4, "1,161"),
        (215830.672, "215,831"),
        (0, "0"),
        (-0.0146, "\u22120.0146"),
        (9.999, "10.0"),
        (2.5e-5, "2.50e\u22125"),
        (1.5e9, "1.50e9"),
        (math.inf, "∞"),
        (math.nan, "not a number"),
    ],
)
def test_three_significant_digits(value: float, text: str) -> None:
    assert short(value) == text


def test_numbers_with_their_uncertainty() -> None:
    made = number(0.9099, 2, se=0.0045, times=100, unit=" %")
    assert (made.text, made.note, made.value) == ("90.99 %", "± 0.45", 0.9099)
    assert plain(215_830.672, 3) == "215,830.672" and plain(3e7, 2) == "3.00e+07"


@pytest.mark.parametrize(
    ("value", "text"), [(1.648e-5, "1.6e\u22125"), (-2e-6, "\u22122.0e\u22126"), (0.00012, "0.00012"), (0.0, "0.00000")]
)
def test_a_figure_too_small_for_its_digits_keeps_two_of_its_own(value: float, text: str) -> None:
    assert plain(value, 5) == text


def test_mebibytes() -> None:
    assert mib(1024**2 * 3 / 2).text == "1.500" and mib(None).text == "\u2013"
