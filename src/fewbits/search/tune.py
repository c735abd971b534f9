"""Tuning: limits in, the plan out, measured on data that it was not chosen by.

Predict from the sensitivities, measure, correct the predictions where they are far off, and seek again. Limits on quality
hold with the worse end of a one-sided 95 % interval; a plan that does not beat the best uniform plan of no more bytes gives
way to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

from torch import nn

from fewbits.measure.result import Measure
from fewbits.plan import Plan, Rule
from fewbits.progress import track
from fewbits.search.candidates import DEFAULT, Space, space_of
from fewbits.search.clocks import Stopwatch
from fewbits.search.costs import Costs
from fewbits.search.evidence import Evidence, Judge
from fewbits.search.frontier import Side, Table
from fewbits.search.goal import Goal
from fewbits.search.handmade import handmade_plans, uniform_plans
from fewbits.search.limits import Limit, parse_limit
from fewbits.search.measured import Bench
from fewbits.search.memory import cache_bytes
from fewbits.search.nearest import impossible, too_dear
from fewbits.search.pick import Choice, added, best_within, ladder
from fewbits.search.refine import refine
from fewbits.search.sensitivity import Sensitivities, sensitivities
from fewbits.search.store import Store, model_digest, store_for
from fewbits.search.trial import Trial
from fewbits.search.tunedata import TuneData
from fewbits.search.verdict import Verdict, judge_limits

NEAR = 0.85  # of the plan's bytes: a uniform plan that takes less is not held against it
UNIFORM = 3  # uniform plans that are measured on the verification data
SPEED_ROUNDS = 3  # of measuring a speed and correcting its prediction


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`samples` pseudo-losses for the cheap sensitivities; `measure`: also one layer at a time; `rounds` of correction.

    `batch` sequences (or images) at a time and a `context` in tokens are what memory and speeds are told for.
    """

    samples: int = 64
    measure: bool = False
    rounds: int = 2
    seed: int = 0
    batch: int = 1
    context: int = 0


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


class Search:
    """One model, one set of data, its cache: answers any number of goals."""

    def __init__(
        self,
        model: nn.Module,
        data: TuneData,
        space: Space,
        *,
        settings: Settings | None = None,
        cache: Path | None = None,
        remember: bool = True,
    ) -> None:
        began = perf_counter()
        self.settings, self.space = settings or Settings(), space
        digests = {"model": model_digest(model), "data": data.choose.digest}
        parts = (*digests.values(), data.gradients.digest, str(self.settings.seed), " ".join(map(str, space.rules)))
        self.digests = digests | {"verified on": data.verify.digest}
        self.store = store_for(*parts, cache=cache) if remember else Store()
        self.trial = Trial(model, space)
        self.bench = Bench(self.trial, data.choose, self.store)
        self.judge = Judge(self.trial, data.verify, self.store)
        self.watch = Stopwatch(self.trial, self.store, batch=self.settings.batch, images=data.choose.tensor())
        context = self.settings.context
        held = cache_bytes(model, batch=self.settings.batch, context=context) if context else 0
        self.costs = Costs(space=space, cache=held)
        self.seconds = {"preparation": perf_counter() - began}
        began = perf_counter()
        self.sensitivities = sensitivities(
            self.bench, data.gradients, samples=self.settings.samples, measure=self.settings.measure
        )
        self.seconds["sensitivities"] = perf_counter() - began
        self._tried: dict[Choice, Tried] = {}

    def predict(self, goal: Goal) -> Choice | None:
        """The plan for a goal from the sensitivities alone, quality read off the plans measured so far; nothing is measured.

        None where no plan keeps the limits on costs, or where quality is limited and nothing was measured yet.
        """
        sides = [self.costs.side(limit) for limit in goal.costs]
        if not goal.is_added:
            return best_within(self.sensitivities.loss, sides)
        rungs = ladder(self.sensitivities.loss, self.costs.table(goal.target), sides)
        return next((choice for choice in rungs if self._known_to_hold(goal, choice)), None)

    def run(self, goal: Goal) -> Tuned:
        """Find the plan for some limits. Raises FewbitsError with the nearest possible where there is none."""
        began, made = perf_counter(), self.store.made
        self._time(goal)
        self._tried.clear()
        found, speeds = self._found(goal)
        for _ in range(SPEED_ROUNDS if goal.speeds else 0):
            speeds = {name: self.watch.measure(name, found[0].choice) for name in goal.speeds}
            if all(v.holds for v in self._verdicts(goal, found[0], speeds) if v.limit.is_speed):
                break
            self._correct(found[0].choice, speeds)
            found, speeds = self._found(goal)
        chosen, uniform, won, table = found
        if goal.speeds and not speeds:
            speeds = {name: self.watch.measure(name, chosen.choice) for name in goal.speeds}
        verdicts = self._verdicts(goal, chosen, speeds)
        if any(not v.holds for v in verdicts):
            raise impossible(verdicts, chosen.nbytes, self.judge.original())
        seconds = self.seconds | {"search": perf_counter() - began, "measured anew": float(self.store.made - made)}
        return Tuned(
            plan=self.space.plan(chosen.choice),
            chosen=chosen,
            best_uniform=uniform,
            original=self.judge.original(),
            verdicts=verdicts,
            uniform=chosen.name if won else None,
            tried=tuple(self._tried.values()),
            sensitivities=self.sensitivities,
            table=table,
            costs=self.costs,
            speeds=speeds,
            seconds=seconds,
            digests=self.digests,
            goal=goal,
            protocol=self.judge.data.protocol,
        )

    def _found(self, goal: Goal) -> tuple[tuple[Tried, Tried | None, bool, Table], dict[str, Measure]]:
        """The plan and the best uniform one, whether that won, and the losses as corrected; and no speeds yet."""
        table = self.sensitivities.loss
        choice, table = self._cheapest(goal, table) if goal.is_added else self._best(goal, table)
        chosen = self._try("tuned", "tuned", choice, table)
        uniform = self._best_uniform(goal, chosen, table)
        won = uniform is not None and not self._better(chosen, uniform, goal)
        return (uniform if won and uniform is not None else chosen, uniform, won, table), {}

    def _time(self, goal: Goal) -> None:
        """Tables of layers' times, where speeds are asked for."""
        if missing := [name for name in goal.speeds if name not in self.costs.clocks]:
            began = perf_counter()
            clocks = {name: self.watch.clock(name) for name in missing}
            self.costs = replace(self.costs, clocks={**self.costs.clocks, **clocks})
            self.seconds["timing layers"] = perf_counter() - began

    def _correct(self, choice: Choice, speeds: dict[str, Measure]) -> None:
        """Predict this plan's speed as it was measured."""
        clocks = dict(self.costs.clocks)
        for name, measure in speeds.items():
            clocks[name] = clocks[name].corrected(choice, self.costs.of_seconds(name, float(measure.value)))
        self.costs = replace(self.costs, clocks=clocks)

    def _best(self, goal: Goal, table: Table) -> tuple[Choice, Table]:
        """The plan of least loss within the costs, the losses corrected to what is measured around it."""
        sides = [self.costs.side(limit) for limit in goal.costs]
        first = best_within(table, sides)
        if first is None:
            raise too_dear(goal, self.costs)
        refined = refine(self.bench, table, lambda t: best_within(t, sides), rounds=self.settings.rounds)
        return (first, table) if refined is None else (refined.choice, refined.table)

    def _cheapest(self, goal: Goal, table: Table) -> tuple[Choice, Table]:
        """The plan of least cost whose measured quality holds: bisection, then once more with corrected losses."""
        choice = self._bisect(goal, table)
        sides = [self.costs.side(limit) for limit in goal.costs]
        target = self.costs.table(goal.target)
        refined = refine(
            self.bench, table, lambda t: best_within(t, [*sides, _as_dear(target, choice)]), rounds=self.settings.rounds
        )
        if refined is None or refined.table is table:
            return choice, table
        again = self._bisect(goal, refined.table)
        if added(target, again) < added(target, choice) and self._holds(goal, again, refined.table):
            return again, refined.table
        return choice, table

    def _bisect(self, goal: Goal, table: Table) -> Choice:
        """The first rung of the ladder that holds; the last where none does."""
        rungs = ladder(table, self.costs.table(goal.target), [self.costs.side(limit) for limit in goal.costs])
        if not rungs:
            raise too_dear(goal, self.costs)
        low, high = 0, len(rungs) - 1
        while low < high:
            middle = (low + high) // 2
            if self._holds(goal, rungs[middle], table):
                high = middle
            else:
                low = middle + 1
        return rungs[high]

    def _holds(self, goal: Goal, choice: Choice, table: Table) -> bool:
        tried = self._try("", "step", choice, table)
        return all(v.holds for v in self._verdicts(goal, tried, {}) if v.limit not in goal.costs)

    def _known_to_hold(self, goal: Goal, choice: Choice) -> bool:
        """As `_holds`, for a plan that was not measured: that of the nearest verified plan that is predicted no better."""
        loss = added(self.sensitivities.loss, choice)
        worse = [t for t in self._tried.values() if t.evidence is not None and added(self.sensitivities.loss, t.choice) >= loss]
        nearest = min(worse, key=lambda t: added(self.sensitivities.loss, t.choice), default=None)
        return nearest is not None and all(v.holds for v in self._verdicts(goal, nearest, {}) if v.limit not in goal.costs)

    def _verdicts(self, goal: Goal, tried: Tried, speeds: dict[str, Measure]) -> tuple[Verdict, ...]:
        if tried.evidence is None:
            raise ValueError("a plan is judged when it was verified")
        return judge_limits(goal.limits, tried.evidence, self.judge.original(), self.costs, tried.choice, speeds)

    def _best_uniform(self, goal: Goal, chosen: Tried, table: Table) -> Tried | None:
        """The uniform plan of no more bytes that measures best: the best few by the data chosen by are verified."""
        plans = uniform_plans(self.space)
        fixed = self.space.fixed
        near = {
            name: choice
            for name, choice in plans.items()
            if NEAR * (chosen.nbytes - fixed) <= self.space.nbytes(choice) - fixed <= chosen.nbytes - fixed
        } or _largest(self.space, plans, chosen.nbytes)
        order = sorted(near, key=lambda n: self.bench.loss(near[n]))[:UNIFORM]
        found = [self._try(n, "uniform", near[n], table) for n in order]
        found = [t for t in found if all(v.holds for v in self._verdicts(goal, t, {}) if not v.limit.is_speed)]
        return min(found, key=_main, default=None)

    def _better(self, chosen: Tried, uniform: Tried, goal: Goal) -> bool:
        """Whether the tuned plan is worth having beside a uniform one of no more bytes."""
        if goal.is_added:
            table = self.costs.table(goal.target)
            if added(table, chosen.choice) != added(table, uniform.choice):
                return added(table, chosen.choice) < added(table, uniform.choice)
        return _main(chosen) < _main(uniform)

    def with_landscape(self, tuned: Tuned) -> Tuned:
        """The same with what stands beside the plan in a chart: uniform plans and those made by hand, measured."""
        kinds = {"uniform": uniform_plans(self.space), "by hand": handmade_plans(self.space)}
        known = {tried.choice for tried in tuned.tried}
        more = [
            self._looked_at(name, kind, choice, tuned.table)
            for kind, plans in kinds.items()
            for name, choice in track(plans.items(), f"{kind} plans", unit="plan")
            if choice not in known
        ]
        return replace(tuned, tried=(*more, *tuned.tried))

    def _try(self, name: str, kind: str, choice: Sequence[int], table: Table) -> Tried:
        """Measure a plan on all data, and note it."""
        looked = self._looked_at(name, kind, choice, table)
        tried = replace(looked, evidence=self.judge.evidence(choice))
        self._tried[tried.choice] = tried
        return tried

    def _looked_at(self, name: str, kind: str, choice: Sequence[int], table: Table) -> Tried:
        measured = self.bench.measure(choice)
        return Tried(
            name=name,
            kind=kind,
            choice=tuple(choice),
            nbytes=self.space.nbytes(choice),
            predicted=added(table, choice),
            measured=measured.mean,
            se=measured.se,
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

    `fewbits.quantize(model, tuned.plan)` applies it. `data` comes from `fewbits.search`: `text_data`, `image_data`, or
    `loss_data` for any module with a loss function. What is measured is kept in `cache` (by default the user's cache folder)
    and used again by the same model on the same data, unless `remember` is False.

    Raises FewbitsError for limits that cannot be kept, naming the nearest possible, and for whatever `quantize` would refuse.
    """
    goal = Goal.of([parse_limit(x) if isinstance(x, str) else x for x in limits], minimize, maximize)
    space = space_of(model, candidates, rules=rules, include=include, together=together)
    return Search(model, data, space, settings=settings or Settings(), cache=cache, remember=remember).run(goal)


def _main(tried: Tried) -> float:
    return tried.evidence.value(tried.evidence.main) if tried.evidence else tried.measured


def _as_dear(target: Table, choice: Choice) -> Side:
    """No dearer than a plan."""
    return Side(cost=target, most=added(target, choice) * (1 + 1e-9))


def _largest(space: Space, plans: dict[str, Choice], nbytes: int) -> dict[str, Choice]:
    """The largest uniform plan of no more bytes, alone; none where all take more."""
    fitting = {name: choice for name, choice in plans.items() if space.nbytes(choice) <= nbytes}
    if not fitting:
        return {}
    name = max(fitting, key=lambda n: space.nbytes(fitting[n]))
    return {name: fitting[name]}
