"""Sizes from a configuration alone: the model on the meta device, no weights read."""

from collections.abc import Sequence

from fewbits import models
from fewbits.apply import resolve
from fewbits.evaluate.row import Row
from fewbits.measure.size import planned_size, size
from fewbits.plan import Plan


def planned_rows(name: str, plans: Sequence[Plan], *, classes: int | None = None, trust_remote_code: bool = False) -> list[Row]:
    """The size of a model as it is, then under each plan. Raises FewbitsError where a plan does not fit it."""
    model = models.shapes(name, classes=classes, trust_remote_code=trust_remote_code)
    rows = [Row(model=name, plan=None, measures={"size": size(model)})]
    for plan in plans:
        resolved = resolve(model, plan)
        rows.append(Row(model=name, plan=resolved, measures={"size": planned_size(model, resolved)}))
    return rows
