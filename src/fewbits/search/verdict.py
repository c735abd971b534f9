"""Whether a plan keeps the limits: costs are counted, quality is measured and taken at the worse end of its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING

from fewbits.errors import FewbitsError
from fewbits.search.costs import Costs
from fewbits.search.evidence import Z95, Evidence
from fewbits.search.limits import Limit

if TYPE_CHECKING:
    from fewbits.measure.result import Measure


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A limit, the value it stands at, the worse end of its interval, the bound, and whether it holds."""

    limit: Limit
    value: float
    worst: float
    bound: float

    @property
    def holds(self) -> bool:
        return self.worst <= self.bound if self.limit.is_most else self.worst >= self.bound

    @property
    def told(self) -> str:
        """For a line of text."""
        if self.limit.is_cost or self.limit.is_speed:
            return f"{shown(self.limit.measure, self.value)} against {shown(self.limit.measure, self.bound)}"
        return f"{self.value:.5g}, with 95 % certainty no worse than {self.worst:.5g}, against {self.bound:.5g}"


def shown(measure: str, value: float) -> str:
    """A value with its unit."""
    if measure in ("size", "memory"):
        return f"{value:,.0f} B"
    if measure == "latency":
        return f"{1000 * value:,.4g} ms"
    return f"{value:,.4g}" + {"decode_speed": " tokens/s", "bits": " bits"}.get(measure, "")


def judge_limits(
    limits: Sequence[Limit],
    evidence: Evidence,
    original: Evidence,
    costs: Costs,
    choice: Sequence[int],
    speeds: "Mapping[str, Measure]",
) -> tuple[Verdict, ...]:
    """A verdict on each limit; a speed that is not measured yet is judged as predicted.

    Raises FewbitsError for what was not measured.
    """
    return tuple(
        _cost(limit, costs, choice, speeds.get(limit.measure))
        if limit.is_cost or limit.is_speed
        else _quality(limit, evidence, original)
        for limit in limits
    )


def _cost(limit: Limit, costs: Costs, choice: Sequence[int], measured: "Measure | None") -> Verdict:
    value = costs.value(limit.measure, choice) if measured is None else float(measured.value)
    return Verdict(limit=limit, value=value, worst=value, bound=limit.bound(costs.original(limit.measure)))


def _quality(limit: Limit, evidence: Evidence, original: Evidence) -> Verdict:
    name = limit.measure
    if ("nll" if name == "ppl" else name) not in evidence.sums:
        raise FewbitsError(f"limit '{limit}': {name} is not measured for this model, but {', '.join(_measured(evidence))}")
    value, before = evidence.value(name), original.value(name)
    sign = 1 if limit.is_most else -1
    if limit.base == "absolute":
        worst = value + sign * Z95 * evidence.se(name)
    else:  # relative to the original, whose own chance error is shared: window by window in pairs
        change, se = evidence.change(original, name)
        worst = before * exp(change + Z95 * se) if name == "ppl" else before + change + sign * Z95 * se
    return Verdict(limit=limit, value=value, worst=worst, bound=limit.bound(before))


def _measured(evidence: Evidence) -> list[str]:
    return ["ppl" if name == "nll" else name for name in evidence.sums]
