"""A model under way to its row."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite

from torch import nn

from fewbits.apply import plan_of
from fewbits.data.names import one_line
from fewbits.errors import FewbitsError
from fewbits.evaluate.row import Row
from fewbits.measure.divergence import Remembered
from fewbits.measure.result import Measure
from fewbits.models import Loaded


def reason_of(error: BaseException) -> str:
    """Why something could not be measured, on one line; other libraries' errors with their type."""
    return str(error) if isinstance(error, FewbitsError) else f"{type(error).__name__}: {one_line(error)}"


@dataclass(kw_only=True)
class Entry:
    """One model of a comparison, in memory, with what has been measured so far and why the rest could not be."""

    loaded: Loaded
    measures: dict[str, Measure]
    errors: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    reference: Remembered | nn.Module | None = None

    @property
    def model(self) -> nn.Module:
        return self.loaded.model

    def add(self, measures: Mapping[str, Measure]) -> None:
        """Take in what was measured; a value that is NaN or infinite is an error."""
        for name, measure in measures.items():
            if isfinite(measure.value):
                self.measures[name] = measure
            else:
                self.errors[name] = f"the value is {measure.value}"

    def fail(self, names: Iterable[str], error: BaseException) -> None:
        """Note why these could not be measured."""
        self.errors |= dict.fromkeys(names, reason_of(error))

    def row(self, sources: tuple[str, ...]) -> Row:
        """The row of the model, with the data that it was measured on."""
        return Row(
            model=self.loaded.name,
            plan=plan_of(self.model),
            measures=self.measures,
            errors=self.errors,
            notes=tuple(self.notes),
            extra={"data": list(sources)} if sources else {},
        )


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A model of a comparison that could not be loaded or quantized. `plan` is what was asked for, None for a model as it is."""

    name: str
    plan: str | None
    error: Exception

    def row(self, wanted: Iterable[str]) -> Row:
        """A row of nothing but the reason."""
        reason = reason_of(self.error)
        return Row(
            model=self.name, plan=None, measures={}, errors=dict.fromkeys(wanted, reason), problem=reason, asked=self.plan
        )
