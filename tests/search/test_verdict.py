import math

import pytest

from fewbits.errors import FewbitsError
from fewbits.measure.result import Measure
from fewbits.search.evidence import Evidence
from fewbits.search.limits import parse_limit
from fewbits.search.verdict import Verdict, judge_limits, shown
from tests.search.test_costs import COSTS

ORIGINAL = Evidence(sums={"nll": [2.0, 4.0, 3.0], "accuracy": [1.0, 1.0, 0.0]}, counts=[1, 1, 1])
PLAN = Evidence(sums={"nll": [2.1, 4.1, 3.1], "accuracy": [1.0, 0.0, 0.0]}, counts=[1, 1, 1])


def judged(text: str, **speeds: float) -> Verdict:
    measured = {name: Measure(name=name, value=value, unit="") for name, value in speeds.items()}
    return judge_limits([parse_limit(text)], PLAN, ORIGINAL, COSTS, (0, 1), measured)[0]


def test_relative_to_the_original_in_pairs() -> None:
    verdict = judged("ppl<=+11%")  # e^0.1 is 10.5 % up, the same in every window
    assert verdict.worst == pytest.approx(verdict.value) == pytest.approx(math.exp(3.1)) and verdict.holds
    assert not judged("ppl<=+10%").holds


def test_absolute_limits_take_the_whole_chance_error() -> None:
    verdict = judged("ppl<=30")
    assert verdict.value == pytest.approx(math.exp(3.1)) and verdict.worst > 1.5 * verdict.value and not verdict.holds


def test_accuracy_is_taken_at_its_lower_end() -> None:
    verdict = judged("accuracy>=-40pt")
    assert verdict.value == pytest.approx(1 / 3) and verdict.bound == pytest.approx(2 / 3 - 0.4) and verdict.worst < 0.1
    assert not verdict.holds and judged("accuracy>=-99pt").holds


def test_costs_are_counted_and_speeds_measured() -> None:
    assert judged("size<=1070B").holds and not judged("size<=1069B").holds
    assert judged("latency<=6s").holds and not judged("latency<=6s", latency=6.1).holds
    assert judged("latency<=5s", latency=4.9).holds


def test_what_is_not_measured_is_refused() -> None:
    with pytest.raises(FewbitsError, match="top1 is not measured for this model, but ppl, accuracy"):
        judged("top1>=90%")


def test_units() -> None:
    assert shown("size", 1070.0) == "1,070 B" and shown("latency", 0.0213) == "21.3 ms"
    assert shown("decode_speed", 123.456) == "123.5 tokens/s" and shown("bits", 4.25) == "4.25 bits"
