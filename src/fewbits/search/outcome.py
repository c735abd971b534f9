"""What tuning comes to."""

from dataclasses import dataclass, field

from fewbits.measure.result import Measure
from fewbits.plan import Plan
from fewbits.search.costs import Costs
from fewbits.search.evidence import Evidence
from fewbits.search.frontier import Table
from fewbits.search.goal import Goal
from fewbits.search.pick import Choice
from fewbits.search.sensitivity import Sensitivities
from fewbits.search.space import Space
from fewbits.search.verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A plan that was looked at: predicted and measured loss on the data chosen by, evidence where it was verified.

    `kind` is `tuned`, `uniform`, `by hand` or `step` (one on the way).
    """

    name: str
    kind: str
    choice: Choice
    nbytes: int
    predicted: float
    measured: float
    se: float
    evidence: Evidence | None = None

    @property
    def main(self) -> float:
        """What two plans are compared by: KL, or the loss, on the verification data."""
        return self.measured if self.evidence is None else self.evidence.value(self.evidence.main)


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What tuning came to. `plan` is for `fewbits.quantize`; `uniform` names the uniform plan that won, if one did.

    `tried` are the plans that were verified, the chosen one too; `speeds` are measured, by name.
    """

    plan: Plan
    chosen: Tried
    best_uniform: Tried | None
    original: Evidence
    verdicts: tuple[Verdict, ...]
    uniform: str | None
    tried: tuple[Tried, ...]
    sensitivities: Sensitivities
    table: Table
    costs: Costs
    speeds: dict[str, Measure] = field(default_factory=dict)
    seconds: dict[str, float]
    digests: dict[str, str]
    goal: Goal
    protocol: str

    @property
    def space(self) -> Space:
        return self.sensitivities.space

    @property
    def evidence(self) -> dict[Choice, Evidence]:
        """What the plans measured on the verification data, the original among them."""
        found = {tried.choice: tried.evidence for tried in self.tried if tried.evidence is not None}
        return {self.space.kept(): self.original, **found}
