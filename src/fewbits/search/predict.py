"""The plan for a goal, told from what is known already; nothing is measured."""

from collections.abc import Callable
from dataclasses import dataclass

from fewbits.errors import FewbitsError
from fewbits.search.costs import Costs
from fewbits.search.evidence import Evidence
from fewbits.search.frontier import Table
from fewbits.search.goal import Goal
from fewbits.search.pick import Choice, best_within, ladder
from fewbits.search.verdict import judge_limits


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a search knows: `loss` by unit and option, costs, and what each plan measured on the verification data, or None."""

    loss: Table
    costs: Costs
    evidence: Callable[[Choice], Evidence | None]

    def predict(self, goal: Goal) -> Choice | None:
        """The plan for a goal.

        Limits on quality are read off the plans of the ladder that were verified before: the cheapest of them that holds. None
        where no plan keeps the limits on costs, or none was verified that keeps those on quality; that the original keeps them
        is no answer. Raises FewbitsError for a speed whose layers were not timed.
        """
        if missing := [name for name in goal.speeds if name not in self.costs.clocks]:
            raise FewbitsError(f"{missing[0]}: the layers were not timed here yet: leave out --predict once")
        sides = [self.costs.side(limit) for limit in goal.costs]
        if not goal.is_added:
            return best_within(self.loss, sides)
        kept = self.costs.space.kept()
        original = self.evidence(kept)
        for choice in ladder(self.loss, self.costs.table(goal.target), sides) if original else ():
            evidence = self.evidence(choice)
            if evidence is not None and original is not None and choice != kept:
                verdicts = judge_limits(goal.limits, evidence, original, self.costs, choice, {})
                if all(v.holds for v in verdicts):
                    return choice
        return None
