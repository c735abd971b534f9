"""The search: predict, measure, correct, seek again."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from time import perf_counter

from torch import nn

from fewbits.measure.result import Measure
from fewbits.search.clocks import Stopwatch
from fewbits.search.costs import Costs
from fewbits.search.digest import model_digest
from fewbits.search.frontier import Side, Table, solve
from fewbits.search.goal import Goal
from fewbits.search.judge import Judge
from fewbits.search.limits import SPEEDS
from fewbits.search.looking import Looking
from fewbits.search.measured import Bench
from fewbits.search.memory import cache_bytes
from fewbits.search.nearest import impossible, too_dear
from fewbits.search.outcome import Tried, Tuned
from fewbits.search.pick import Choice, added, best_within, ladder
from fewbits.search.predict import Known
from fewbits.search.refine import refine
from fewbits.search.sensitivity import Sensitivities, sensitivities
from fewbits.search.settings import Settings
from fewbits.search.space import Space
from fewbits.search.store import Store, store_for
from fewbits.search.trial import Trial
from fewbits.search.tunedata import TuneData
from fewbits.search.verdict import Verdict, judge_limits

SPEED_ROUNDS = 3  # of measuring a speed and correcting its prediction


@dataclass(frozen=True, kw_only=True)
class Found:
    """A plan, the best uniform one that keeps the limits in its bytes, whether that won, and the losses as corrected."""

    chosen: Tried
    uniform: Tried | None
    won: bool
    table: Table


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
        self._gradients = data.gradients
        self.looking = Looking(space, self.bench, self.judge)

    @cached_property
    def sensitivities(self) -> Sensitivities:
        """Found when they are first asked for: a limit on bytes that no plan keeps is refused before."""
        began = perf_counter()
        settings = self.settings
        found = sensitivities(self.bench, self._gradients, samples=settings.samples, measure=settings.measure)
        self.seconds["sensitivities"] = perf_counter() - began
        return found

    def known(self) -> Known:
        """All that can be told from without measuring anything more."""
        timed = {name: clock for name in SPEEDS if (clock := self.watch.known(name)) is not None}
        costs = replace(self.costs, clocks={**timed, **self.costs.clocks})
        return Known(loss=self.sensitivities.loss, costs=costs, evidence=self.judge.known)

    def predict(self, goal: Goal) -> Choice | None:
        """The plan for a goal from the sensitivities and what was measured so far (`Known.predict`)."""
        return self.known().predict(goal)

    def run(self, goal: Goal) -> Tuned:
        """Find the plan for some limits. Raises FewbitsError with the nearest possible where there is none."""
        began, made = perf_counter(), self.store.made
        self._time(goal)
        if solve(self.costs.bytes_table, [self.costs.side(limit) for limit in goal.costs]) is None:
            raise too_dear(goal, self.costs)
        self.looking.verified.clear()
        found = self._found(goal)
        speeds = self._speeds(goal, found.chosen)
        for _ in range(SPEED_ROUNDS if goal.speeds else 0):
            if all(v.holds for v in self._verdicts(goal, found.chosen, speeds) if v.limit.is_speed):
                break
            self._correct(found.chosen.choice, speeds)
            found = self._found(goal)
            speeds = self._speeds(goal, found.chosen)
        verdicts = self._verdicts(goal, found.chosen, speeds)
        if any(not v.holds for v in verdicts):
            raise impossible(verdicts, found.chosen.nbytes, self.judge.original())
        seconds = self.seconds | {"search": perf_counter() - began, "measured anew": float(self.store.made - made)}
        return Tuned(
            plan=self.space.plan(found.chosen.choice),
            chosen=found.chosen,
            best_uniform=found.uniform,
            original=self.judge.original(),
            verdicts=verdicts,
            uniform=found.chosen.name if found.won else None,
            tried=tuple(self.looking.verified.values()),
            sensitivities=self.sensitivities,
            table=found.table,
            costs=self.costs,
            speeds=speeds,
            seconds=seconds,
            digests=self.digests,
            goal=goal,
            protocol=self.judge.data.protocol,
        )

    def with_landscape(self, tuned: Tuned) -> Tuned:
        """The same with what stands beside the plan in a chart: uniform plans and those made by hand, measured."""
        return replace(tuned, tried=(*self.looking.beside(tuned.tried, tuned.table), *tuned.tried))

    def _found(self, goal: Goal) -> Found:
        table = self.sensitivities.loss
        choice, table = self._cheapest(goal, table) if goal.is_added else self._best(goal, table)
        chosen = self.looking.verify("tuned", "tuned", choice, table)
        uniform = self.looking.best_uniform(chosen.nbytes, table, lambda t: all(v.holds for v in self._verdicts(goal, t, {})))
        if uniform is not None and not self._better(chosen, uniform, goal):
            return Found(chosen=uniform, uniform=uniform, won=True, table=table)
        return Found(chosen=chosen, uniform=uniform, won=False, table=table)

    def _speeds(self, goal: Goal, tried: Tried) -> dict[str, Measure]:
        return {name: self.watch.measure(name, tried.choice) for name in goal.speeds}

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
        tried = self.looking.verify("", "step", choice, table)
        return all(v.holds for v in self._verdicts(goal, tried, {}) if v.limit not in goal.costs)

    def _verdicts(self, goal: Goal, tried: Tried, speeds: dict[str, Measure]) -> tuple[Verdict, ...]:
        if tried.evidence is None:
            raise ValueError("a plan is judged when it was verified")
        return judge_limits(goal.limits, tried.evidence, self.judge.original(), self.costs, tried.choice, speeds)

    def _better(self, chosen: Tried, uniform: Tried, goal: Goal) -> bool:
        """Whether the tuned plan is worth having beside a uniform one of no more bytes."""
        if goal.is_added:
            table = self.costs.table(goal.target)
            if added(table, chosen.choice) != added(table, uniform.choice):
                return added(table, chosen.choice) < added(table, uniform.choice)
        return chosen.main < uniform.main


def _as_dear(target: Table, choice: Choice) -> Side:
    """No dearer than a plan."""
    return Side(cost=target, most=added(target, choice) * (1 + 1e-9))
