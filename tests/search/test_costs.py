import pytest

from fewbits.search.costs import Clock, Costs
from fewbits.search.limits import parse_limit
from fewbits.search.pick import added
from fewbits.search.space import Option, Space, Unit


def units(*nbytes: tuple[int, ...]) -> Space:
    """Units of 100 weights whose options take so many bytes, the last keeps."""
    made = tuple(
        Unit(
            name=f"u{i}",
            layers=(f"u{i}",),
            tied=(),
            params=100,
            options=tuple(Option(scheme=None, nbytes=n, candidate=f"c{j}") for j, n in enumerate(row)),
        )
        for i, row in enumerate(nbytes)
    )
    return Space(units=made, fixed=1000, candidates=("c0", "c1"), rules=(), total_params=200)


SPACE = units((10, 50, 200), (20, 60, 200))
CLOCK = Clock(table=[[1.0, 2.0, 4.0], [1.0, 3.0, 4.0]], rest=2.0, items=4, original=10.0)
COSTS = Costs(space=SPACE, cache=500, clocks={"decode_speed": CLOCK, "latency": CLOCK})


def test_values_by_hand() -> None:
    assert COSTS.value("size", (0, 1)) == 1070 and COSTS.value("memory", (0, 1)) == 1570
    assert COSTS.value("bits", (0, 1)) == 8 * 70 / 200
    assert COSTS.value("latency", (0, 1)) == 6 and COSTS.value("decode_speed", (0, 1)) == pytest.approx(4 / 6)
    assert COSTS.original("size") == 1400 and COSTS.original("latency") == 10 and COSTS.original("decode_speed") == 0.4


@pytest.mark.parametrize(
    "limit",
    [
        "size<=1070B",
        "size<=80%",
        "memory<=1570B",
        "bits<=2.8",
        "latency<=6s",
        "latency<=60%",
        "decode_speed>=0.6",
        "decode_speed>=+60%",
    ],
)
def test_a_side_admits_what_the_limit_admits(limit: str) -> None:
    parsed = parse_limit(limit)
    side, bound = COSTS.side(parsed), parsed.bound(COSTS.original(parsed.measure))
    for choice in [(a, b) for a in range(3) for b in range(3)]:
        value = COSTS.value(parsed.measure, choice)
        keeps = value <= bound if parsed.is_most else value >= bound
        assert keeps == (added(side.cost, choice) <= side.most + 1e-9)


def test_a_clock_is_corrected_to_what_was_measured() -> None:
    assert CLOCK.corrected((0, 0), 7.0).seconds((0, 0)) == pytest.approx(7.0)
    assert CLOCK.corrected((0, 0), 7.0).seconds((2, 2)) == pytest.approx(CLOCK.seconds((2, 2)) + 3)
