"""Plans that are looked at: measured on the data chosen by, verified on the other; and those that stand beside a plan."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from fewbits.progress import track
from fewbits.search.frontier import Table
from fewbits.search.handmade import handmade_plans, uniform_plans
from fewbits.search.judge import Judge
from fewbits.search.measured import Bench
from fewbits.search.outcome import Tried
from fewbits.search.pick import Choice, added
from fewbits.search.space import Space

NEAR = 0.85  # of the plan's bytes: a uniform plan that takes less is not held against it
UNIFORM = 3  # uniform plans that are measured on the verification data


class Looking:
    """Looks at plans, each once; `verified` are those that were, by choice."""

    def __init__(self, space: Space, bench: Bench, judge: Judge) -> None:
        self.space, self.bench, self.judge = space, bench, judge
        self.verified: dict[Choice, Tried] = {}

    def look(self, name: str, kind: str, choice: Sequence[int], table: Table) -> Tried:
        """Measure a plan on the data that is chosen by."""
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

    def verify(self, name: str, kind: str, choice: Sequence[int], table: Table) -> Tried:
        """Measure a plan on all data, and note it."""
        tried = replace(self.look(name, kind, choice, table), evidence=self.judge.evidence(choice))
        self.verified[tried.choice] = tried
        return tried

    def best_uniform(self, nbytes: int, table: Table, holds: Callable[[Tried], bool]) -> Tried | None:
        """The uniform plan of no more bytes that measures best: the best few by the data chosen by are verified."""
        plans, fixed = uniform_plans(self.space), self.space.fixed
        room = {name: self.space.nbytes(choice) - fixed for name, choice in plans.items()}
        fitting = {name: size for name, size in room.items() if size <= nbytes - fixed}
        near = [name for name, size in fitting.items() if size >= NEAR * (nbytes - fixed)]
        near = near or sorted(fitting, key=lambda name: -fitting[name])[:1]
        order = sorted(near, key=lambda name: self.bench.loss(plans[name]))[:UNIFORM]
        found = [self.verify(name, "uniform", plans[name], table) for name in order]
        return min((tried for tried in found if holds(tried)), key=lambda tried: tried.main, default=None)

    def beside(self, known: Sequence[Tried], table: Table) -> list[Tried]:
        """Uniform plans and those made by hand, as far as they are not known."""
        kinds = {"uniform": uniform_plans(self.space), "by hand": handmade_plans(self.space)}
        there = {tried.choice for tried in known}
        return [
            self.look(name, kind, choice, table)
            for kind, plans in kinds.items()
            for name, choice in track(plans.items(), f"{kind} plans", unit="plan")
            if choice not in there
        ]
