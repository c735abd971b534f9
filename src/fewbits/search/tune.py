"""Tuning: limits in, the plan out, measured on data that it was not chosen by.

Predict from the sensitivities, measure, correct the predictions where they are far off, and seek again. Limits on quality
hold with the upper (lower) end of a 95 % interval, paired with the original; a plan that does not beat the best uniform plan
of no more bytes gives way to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from torch import nn

from fewbits.errors import FewbitsError
from fewbits.plan import Plan, Rule
from fewbits.search.candidates import DEFAULT, Space, space_of
from fewbits.search.evidence import Evidence, Judge
from fewbits.search.frontier import Side, Table, frontier, solve
from fewbits.search.goal import Goal
from fewbits.search.handmade import handmade_plans, uniform_plans
from fewbits.search.limits import Limit, parse_limit
from fewbits.search.measured import Bench
from fewbits.search.refine import predicted, refine
from fewbits.search.sensitivity import Sensitivities, costs, sensitivities
from fewbits.search.store import Store, model_digest, store_for
from fewbits.search.trial import Trial
from fewbits.search.tunedata import TuneData
from fewbits.search.verdict import Verdict, judge_limits

Choice = tuple[int, ...]
FAR = 1.3  # a plan that measures this many times its prediction is looked around in; nearer, that brings nothing


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`samples` pseudo-losses for the cheap sensitivities; `measure`: also one layer at a time; `rounds` of correction."""

    samples: int = 64
    measure: bool = False
    rounds: int = 2
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A plan that was looked at: predicted and measured loss on the data chosen by, evidence where it was verified."""

    name: str
    choice: Choice
    nbytes: int
    predicted: float
    measured: float
    evidence: Evidence | None = None


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What tuning came to. `plan` is for `fewbits.quantize`; `uniform` names the uniform plan that won, if one did."""

    plan: Plan
    chosen: Tried
    best_uniform: Tried | None
    original: Evidence
    verdicts: tuple[Verdict, ...]
    uniform: str | None
    tried: tuple[Tried, ...]
    sensitivities: Sensitivities
    table: Table
    seconds: dict[str, float]
    digests: dict[str, str]
    goal: Goal

    @property
    def space(self) -> Space:
        return self.sensitivities.space


class Search:
    """One model, one set of data, its cache: answers any number of limits."""

    def __init__(
        self,
        model: nn.Module,
        data: TuneData,
        space: Space,
        *,
        settings: Settings,
        cache: Path | None = None,
        remember: bool = True,
    ) -> None:
        began = perf_counter()
        digests = {"model": model_digest(model), "data": f"{data.choose.digest} {data.gradients.digest}"}
        parts = (*digests.values(), str(settings.seed), " ".join(map(str, space.rules)))
        self.settings, self.space, self.digests = settings, space, digests | {"verified on": data.verify.digest}
        self.store = store_for(*parts, cache=cache) if remember else Store()
        self.trial = Trial(model, space)
        data.choose.remember(self.trial.model)
        self.bench = Bench(self.trial, data.choose, self.store)
        self.judge = Judge(self.trial, data.verify, self.store)
        self.seconds = {"preparation": perf_counter() - began}
        began = perf_counter()
        self.sensitivities = sensitivities(self.bench, data.gradients, samples=settings.samples, measure=settings.measure)
        self.seconds["sensitivities"] = perf_counter() - began

    def run(self, goal: Goal) -> Tuned:
        """Find the plan for some limits. Raises FewbitsError with the nearest possible where there is none."""
        began, made = perf_counter(), self.store.made
        table = self.sensitivities.loss
        most = goal.most_bytes(self.space)
        frontier(table, costs(self.space))
        self.seconds["frontier"] = perf_counter() - began
        if goal.is_size:
            choice, table = self._smallest(goal, most, table)
        else:
            choice, table = self._best_within(most, table)
        chosen = self._tried("tuned", choice, table, verify=True)
        uniform = self._best_uniform(goal, chosen, table)
        won = uniform is not None and not _better(chosen, uniform, goal)
        if won and uniform is not None:
            chosen = uniform
        verdicts = self._verdicts(goal, chosen)
        if failed := [v for v in verdicts if not v.holds]:
            raise FewbitsError(_impossible(failed, chosen, self.space))
        seconds = self.seconds | {"search": perf_counter() - began, "measured anew": float(self.store.made - made)}
        return Tuned(
            plan=self.space.plan(chosen.choice),
            chosen=chosen,
            best_uniform=uniform,
            original=self.judge.original(),
            verdicts=verdicts,
            uniform=chosen.name if won else None,
            tried=self._landscape(table),
            sensitivities=self.sensitivities,
            table=table,
            seconds=seconds,
            digests=self.digests,
            goal=goal,
        )

    def _best_within(self, most: float, table: Table) -> tuple[Choice, Table]:
        """The plan of least loss within some bytes, corrected where the prediction is far off."""
        first = self._solve(table, most)
        if first is None:
            least = self.space.fixed + sum(min(o.nbytes for o in unit.options) for unit in self.space.units)
            raise FewbitsError(
                f"no plan takes at most {most:,.0f} B: the smallest of these candidates takes {least:,} B, of which"
                f" {self.space.fixed:,} B are not searched; add a smaller --candidate, or --include lm_head"
            )
        far = self.bench.loss(first) > FAR * predicted(table, first)
        refined = refine(self.bench, table, lambda t: self._solve(t, most), rounds=self.settings.rounds if far else 0)
        return (first, table) if refined is None else (refined.choice, refined.table)

    def _solve(self, table: Table, most: float) -> Choice | None:
        return solve(table, [Side(cost=costs(self.space), most=most - self.space.fixed)])

    def _smallest(self, goal: Goal, most: float, table: Table) -> tuple[Choice, Table]:
        """The smallest plan on the hull whose measured quality holds: bisection, then once more with corrected losses."""
        choice = self._bisect(goal, most, table)
        size = self.space.nbytes(choice)
        better, corrected = self._best_within(size, table)
        if corrected is not table or self.bench.loss(better) < self.bench.loss(choice):
            again = self._bisect(goal, most, corrected)
            if self.space.nbytes(again) < size and self._holds(goal, again):
                return again, corrected
        return choice, table

    def _bisect(self, goal: Goal, most: float, table: Table) -> Choice:
        points = [p.choice for p in frontier(table, costs(self.space)).points if self.space.nbytes(p.choice) <= most]
        points.append(self.space.kept())
        low, high = 0, len(points) - 1
        while low < high:
            middle = (low + high) // 2
            if self._holds(goal, points[middle]):
                high = middle
            else:
                low = middle + 1
        return points[high]

    def _holds(self, goal: Goal, choice: Choice) -> bool:
        tried = self._tried("", choice, self.sensitivities.loss, verify=True)
        return all(v.holds for v in self._verdicts(goal, tried))

    def _verdicts(self, goal: Goal, tried: Tried) -> tuple[Verdict, ...]:
        if tried.evidence is None:
            raise ValueError("a plan is judged when it was verified")
        kept = self.space.nbytes(self.space.kept())
        return judge_limits(goal.limits, tried.evidence, self.judge.original(), goal.costs_of(self.space, tried.choice), kept)

    def _best_uniform(self, goal: Goal, chosen: Tried, table: Table) -> Tried | None:
        """The uniform plan of no more bytes that measures best: the best two by the data chosen by are verified."""
        plans = {n: c for n, c in uniform_plans(self.space).items() if self.space.nbytes(c) <= chosen.nbytes}
        order = sorted(plans, key=lambda n: self.bench.loss(plans[n]))[:2]
        found = [self._tried(n, plans[n], table, verify=True) for n in order]
        found = [t for t in found if all(v.holds for v in self._verdicts(goal, t))] if goal.is_size else found
        return min(found, key=_main, default=None)

    def _landscape(self, table: Table) -> tuple[Tried, ...]:
        """What stands beside the plan in the chart: uniform plans and those made by hand."""
        plans = uniform_plans(self.space) | handmade_plans(self.space)
        return tuple(self._tried(name, choice, table) for name, choice in plans.items())

    def _tried(self, name: str, choice: Choice, table: Table, *, verify: bool = False) -> Tried:
        return Tried(
            name=name,
            choice=tuple(choice),
            nbytes=self.space.nbytes(choice),
            predicted=predicted(table, choice),
            measured=self.bench.loss(choice),
            evidence=self.judge.evidence(choice) if verify else None,
        )


def tune(
    model: nn.Module,
    data: TuneData,
    limits: Sequence[str | Limit],
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    candidates: Sequence[str] = DEFAULT,
    rules: Sequence[Rule] = (),
    include: Sequence[str] = (),
    together: Sequence[str] = (),
    settings: Settings | None = None,
    cache: Path | None = None,
    remember: bool = True,
) -> Tuned:
    """Find the plan that keeps the limits and is best by one measure; the model is left alone.

    `fewbits.quantize(model, tuned.plan)` applies it. `data` comes from `fewbits.search.tunedata`. Raises FewbitsError for
    limits that cannot be kept, naming the nearest possible, and for whatever `quantize` would refuse.
    """
    goal = Goal.of([parse_limit(x) if isinstance(x, str) else x for x in limits], minimize, maximize)
    space = space_of(model, candidates, rules=rules, include=include, together=together)
    return Search(model, data, space, settings=settings or Settings(), cache=cache, remember=remember).run(goal)


def _main(tried: Tried) -> float:
    return tried.evidence.value(tried.evidence.main) if tried.evidence else tried.measured


def _better(chosen: Tried, uniform: Tried, goal: Goal) -> bool:
    """Whether the tuned plan is worth having beside a uniform one of no more bytes."""
    return chosen.nbytes < uniform.nbytes or (not goal.is_size and _main(chosen) < _main(uniform))


def _impossible(failed: list[Verdict], chosen: Tried, space: Space) -> str:
    what = "; ".join(f"{v.limit}: {v.told}" for v in failed)
    return f"no plan of these candidates keeps {what}. The nearest measured takes {chosen.nbytes:,} B"


def with_plan(tuned: Tuned, plan: Plan) -> Tuned:
    """The same with another plan, such as the one that was applied, with its decisions."""
    return replace(tuned, plan=plan)
