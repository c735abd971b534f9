"""What plans cost beside their loss: bytes, which are counted, and seconds, which are added up from a table of layers' times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fewbits.search.frontier import Side, Table
from fewbits.search.limits import Limit
from fewbits.search.space import Space

PER_SECOND = ("decode_speed",)  # measures that are rates: `items` of a step over its seconds


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Seconds of a step (a token of every sequence of a batch, or one forward) by unit and option, and `rest` for all else.

    `items` are what a step makes: tokens of a batch. `original` is what the original was measured to take. `protocol` says how
    all of it was timed.
    """

    table: Table
    rest: float
    items: int
    original: float
    protocol: str = ""

    def seconds(self, choice: Sequence[int]) -> float:
        """Of one step under a plan, as predicted."""
        return max(self.rest + sum(row[c] for row, c in zip(self.table, choice, strict=True)), 1e-9)

    def corrected(self, choice: Sequence[int], seconds: float) -> "Clock":
        """The same, so that this plan is predicted to take what it was measured to take."""
        return replace(self, rest=self.rest + seconds - self.seconds(choice))


@dataclass(frozen=True, kw_only=True)
class Costs:
    """The costs of every plan of a space. `cache` are bytes of memory beside the weights, those of a KV cache."""

    space: Space
    cache: int = 0
    clocks: Mapping[str, Clock] = field(default_factory=dict)

    @property
    def bytes_table(self) -> Table:
        """Bytes by unit and option."""
        return [[float(option.nbytes) for option in unit.options] for unit in self.space.units]

    def table(self, measure: str) -> Table:
        """What a measure of cost adds up from: bytes or seconds."""
        return self.clocks[measure].table if measure in self.clocks else self.bytes_table

    def value(self, measure: str, choice: Sequence[int]) -> float:
        """A cost of a plan, in its own unit."""
        if measure in self.clocks:
            return self.of_seconds(measure, self.clocks[measure].seconds(choice))
        if measure == "bits":
            return self.space.bits(choice)
        return float(self.space.nbytes(choice) + (self.cache if measure == "memory" else 0))

    def original(self, measure: str) -> float:
        """The same of the model as it is."""
        if measure in self.clocks:
            return self.of_seconds(measure, self.clocks[measure].original)
        return self.value(measure, self.space.kept())

    def of_seconds(self, measure: str, seconds: float) -> float:
        """A speed or a latency from the seconds of a step; each is the other's way back."""
        return self.clocks[measure].items / seconds if measure in PER_SECOND else seconds

    def side(self, limit: Limit, margin: float = 0.0) -> Side:
        """A limit on a cost as a bound on what the plans' parts add up to; `margin` is held back of its seconds, a share."""
        bound = limit.bound(self.original(limit.measure))
        if limit.measure in self.clocks:
            clock = self.clocks[limit.measure]
            most = self.of_seconds(limit.measure, max(bound, 1e-12)) * (1 - margin)
            return Side(cost=clock.table, most=most - clock.rest)
        if limit.measure == "bits":
            return Side(cost=self.bytes_table, most=bound * self.space.params / 8)
        return Side(cost=self.bytes_table, most=bound - self.space.fixed - (self.cache if limit.measure == "memory" else 0))
