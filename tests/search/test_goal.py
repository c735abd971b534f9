import pytest

from fewbits.errors import FewbitsError
from fewbits.search.goal import Goal
from fewbits.search.limits import parse_limit


def goal(*limits: str, minimize: str | None = None, maximize: str | None = None) -> Goal:
    return Goal.of([parse_limit(text) for text in limits], minimize, maximize)


def test_limits_of_two_kinds_on_one_measure_go_together() -> None:
    assert len(goal("ppl<=+2%", "ppl<=14").limits) == 2


def test_quality_is_made_best_within_costs_and_size_where_quality_is_limited() -> None:
    assert goal("size<=3MiB").target == "kl"
    assert goal("decode_speed>=3", "memory<=3MiB").target == "kl"
    assert goal("ppl<=+2%").target == goal("ppl<=+2%", "size<=9MiB").target == "size"
    assert goal("kl<=0.1", maximize="decode_speed").speeds == ("decode_speed",)
    assert goal("kl<=0.1", "size<=3MiB").costs == (parse_limit("size<=3MiB"),)


@pytest.mark.parametrize(
    ("limits", "how", "helps"),
    [
        ((), {}, "--limit"),
        (("kl<=1",), {"minimize": "size", "maximize": "accuracy"}, "not both"),
        (("kl<=1",), {"minimize": "happiness"}, "one of size"),
        (("kl<=1",), {"maximize": "size"}, "minimised"),
        (("size<=3MiB",), {"minimize": "accuracy"}, "maximised"),
        (("ppl<=+2%",), {"minimize": "kl"}, "size<=16MiB"),
        (("size<=3MiB",), {"minimize": "size"}, "kl<=0.05"),
        (("size<=3MiB", "size<=4MiB"), {}, "keep the tighter one"),
        (("size<=3MiB", "size<=3MiB"), {}, "keep the tighter one"),
        (("ppl<=+2%", "ppl<=+3%"), {}, "keep the tighter one"),
        (("accuracy>=101%",), {}, "at most 100%"),
    ],
)
def test_what_cannot_be_wanted(limits: tuple[str, ...], how: dict[str, str], helps: str) -> None:
    with pytest.raises(FewbitsError, match=helps):
        goal(*limits, **how)
