"""A row: one model under one plan, and what was measured of it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import fewbits
from fewbits import machine
from fewbits.measure.result import Measure
from fewbits.plan import Plan

ORIGINAL = "as it is"  # the plan of a model that is not quantized
FEW = 3  # rules, or schemes, that are told one by one


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model: its plan, the share of its parameters that is quantized (0..1), its measures by name.

    Attributes:
        model: The name that was given.
        plan: None for a model as it is, and for one that could not be loaded.
        measures: What was measured.
        errors: By measure, why it could not be taken.
        problem: Why the model could not be loaded or quantized.
        asked: The plan that could not be applied.
        notes: Lines for the reader.
        extra: More entries of the JSON document.
    """

    model: str
    plan: Plan | None
    measures: Mapping[str, Measure]
    errors: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None
    asked: str | None = None
    notes: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        if self.plan is None:
            return self.asked or ORIGINAL
        return str(self.plan)

    @property
    def failed(self) -> bool:
        """Whether the model, or one of its measures, could not be had."""
        return bool(self.errors) or self.problem is not None

    @property
    def short_label(self) -> str:
        """The same for tables: of a plan of many rules the schemes that most layers have."""
        if self.plan is None or len(self.plan.rules) <= FEW or not self.plan.decisions:
            return self.label
        counts = Counter(str(d.scheme) for d in self.plan.decisions if d.scheme is not None and d.tied_to is None)
        told = ", ".join(f"{count} x {scheme}" for scheme, count in counts.most_common(FEW))
        return f"mixed: {told}{', ...' if len(counts) > FEW else ''}"

    @property
    def coverage(self) -> float:
        return 0.0 if self.plan is None else self.plan.coverage

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        measures = {name: measure.to_dict() for name, measure in self.measures.items()}
        measures |= {name: {"value": None, "error": reason} for name, reason in self.errors.items()}
        coverage = None if self.problem is not None else self.coverage
        data: dict[str, Any] = {"model": self.model, "plan": self.label, "coverage": coverage, "measures": measures}
        if self.problem is not None:
            data["error"] = self.problem
        return data | dict(self.extra) | ({"notes": list(self.notes)} if self.notes else {})


def document(rows: Iterable[Row]) -> dict[str, Any]:
    """The JSON document of every command that measures."""
    return {"fewbits": fewbits.__version__, "machine": machine.describe(), "results": [row.to_dict() for row in rows]}
