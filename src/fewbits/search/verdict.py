"""Whether a plan keeps the limits: costs are counted, quality is measured and taken at the worse end of its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp

from fewbits.errors import FewbitsError
from fewbits.search.evidence import Z95, Evidence
from fewbits.search.limits import Limit


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
        if self.limit.is_cost:
            return f"{self.value:,.6g} against {self.bound:,.6g}"
        return f"{self.value:.5g}, with 95 % certainty no worse than {self.worst:.5g}, against {self.bound:.5g}"


def judge_limits(
    limits: Sequence[Limit], evidence: Evidence, original: Evidence, costs: Mapping[str, float], kept: int
) -> tuple[Verdict, ...]:
    """A verdict on each limit. `kept` are the bytes of the original. Raises FewbitsError for what was not measured."""
    return tuple(_cost(limit, costs, kept) if limit.is_cost else _quality(limit, evidence, original) for limit in limits)


def _cost(limit: Limit, costs: Mapping[str, float], kept: int) -> Verdict:
    original = kept + costs["memory"] - costs["size"] if limit.measure == "memory" else kept
    value = costs[limit.measure]
    return Verdict(limit=limit, value=value, worst=value, bound=limit.bound(original))


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
