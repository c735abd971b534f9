"""A model under way to its row."""

from dataclasses import dataclass, field

from torch import nn

from fewbits.apply import plan_of
from fewbits.evaluate.row import Row
from fewbits.measure.divergence import Remembered
from fewbits.measure.result import Measure
from fewbits.models import Loaded


@dataclass(kw_only=True)
class Entry:
    """One model of a comparison, in memory, with what has been measured so far."""

    loaded: Loaded
    measures: dict[str, Measure]
    notes: list[str] = field(default_factory=list)
    reference: Remembered | None = None

    @property
    def model(self) -> nn.Module:
        return self.loaded.model

    def row(self, sources: tuple[str, ...]) -> Row:
        """What is told of it, and what data it was measured on."""
        extra = {"data": list(sources)} if sources else {}
        plan, notes = plan_of(self.model), tuple(self.notes)
        return Row(model=self.loaded.name, plan=plan, measures=self.measures, notes=notes, extra=extra)
