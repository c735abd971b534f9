"""What cannot be had, and the nearest that can: one line with limits that would be kept."""

from collections.abc import Sequence
from math import ceil, floor, log10

from fewbits.errors import FewbitsError
from fewbits.search.costs import Costs
from fewbits.search.evidence import Evidence
from fewbits.search.goal import Goal
from fewbits.search.pick import best_within
from fewbits.search.verdict import Verdict, shown


def impossible(verdicts: Sequence[Verdict], nbytes: int, original: Evidence) -> FewbitsError:
    """For limits that no plan keeps: how far the nearest is from each, and limits that it keeps."""
    failed = [v for v in verdicts if not v.holds]
    what = "; ".join(f"{v.limit}: {v.told}{_of_the_original(v, original)}" for v in failed)
    would = " and ".join(f"--limit '{_kept(v)}'" for v in failed)
    return FewbitsError(f"no plan of these candidates keeps {what}. The nearest takes {nbytes:,} B and keeps {would}")


def too_dear(goal: Goal, costs: Costs) -> FewbitsError:
    """For limits on costs that even the cheapest plan breaks."""
    for limit in goal.costs:
        cheapest = best_within(costs.table(limit.measure), [])
        if cheapest is None:
            continue
        value, bound = costs.value(limit.measure, cheapest), limit.bound(costs.original(limit.measure))
        if value > bound if limit.is_most else value < bound:
            return FewbitsError(
                f"limit '{limit}': the nearest that these candidates come to is {shown(limit.measure, value)}"
                f"{_parts(limit.measure, costs)}; add a smaller --candidate, or search more layers with --include lm_head"
            )
    return FewbitsError(
        f"no plan of these candidates keeps {' and '.join(map(str, goal.costs))} together, though each alone can be kept"
    )


def _parts(measure: str, costs: Costs) -> str:
    if measure in costs.clocks:
        return f", against {shown(measure, costs.original(measure))} as it is"
    if measure == "bits":
        return ""
    cache = f" and {costs.cache:,} B of KV cache" if measure == "memory" and costs.cache else ""
    return f", of which {costs.space.fixed:,} B of layers that are kept{cache}"


def _of_the_original(verdict: Verdict, original: Evidence) -> str:
    name = verdict.limit.measure
    if verdict.limit.is_cost or verdict.limit.is_speed or name not in (*original.sums, "ppl"):
        return ""
    return f" (the original: {original.value(name):.5g})"


def _kept(verdict: Verdict) -> str:
    """A limit that the plan keeps, to four digits, rounded to the safe side."""
    name, worst, most = verdict.limit.measure, verdict.worst, verdict.limit.is_most
    if name in ("size", "memory"):
        return f"{name}<={worst:.0f}"
    step = 10.0 ** (floor(log10(abs(worst))) - 3) if worst else 1.0
    value = (ceil if most else floor)(worst / step) * step
    return f"{name}{'<=' if most else '>='}{value:.4g}"
