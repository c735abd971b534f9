import re

import pytest

from fewbits.search.evidence import Evidence
from fewbits.search.goal import Goal
from fewbits.search.limits import parse_limit
from fewbits.search.nearest import impossible, too_dear
from fewbits.search.verdict import Verdict, judge_limits
from tests.search.test_costs import COSTS
from tests.search.test_verdict import ORIGINAL

SURE = Evidence(sums={"nll": [310.0] * 9, "accuracy": [33.0, 34.0, 33.0] * 3}, counts=[100] * 9)


@pytest.mark.parametrize("text", ["ppl<=20", "accuracy>=60%", "size<=1000B"])
def test_the_limit_that_is_offered_instead_is_kept(text: str) -> None:
    first = judged(text)
    assert not first[0].holds
    said = str(impossible(first, 1070, ORIGINAL))
    (offered,) = re.findall(r"--limit '([^']*)'", said)
    assert "\n" not in said and "1,070 B" in said and judged(offered)[0].holds


def judged(limit: str) -> tuple[Verdict, ...]:
    return judge_limits([parse_limit(limit)], SURE, ORIGINAL, COSTS, (0, 1), {})


def test_what_even_the_cheapest_plan_takes() -> None:
    goal = Goal.of([parse_limit("size<=1029B")])
    said = str(too_dear(goal, COSTS))
    assert "1,030 B" in said and "1,000 B of layers that are kept" in said and "--candidate" in said
    assert "1,530 B" in str(too_dear(Goal.of([parse_limit("memory<=9B")]), COSTS))
    assert "1 tokens/s" in str(too_dear(Goal.of([parse_limit("decode_speed>=2")]), COSTS))


def test_limits_that_exclude_each_other() -> None:
    goal = Goal.of([parse_limit("size<=1400B"), parse_limit("memory<=1540B")])
    assert "together" in str(too_dear(goal, COSTS))
