"""Tuning: limits in, the plan out, measured on data that it was not chosen by.

Predict from the sensitivities, measure, correct the predictions where they are far off, and seek again. Limits on quality
hold with the worse end of a one-sided 95 % interval; a plan that does not beat the best uniform plan of no more bytes gives
way to it.
"""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from fewbits.plan import Rule
from fewbits.search.candidates import DEFAULT, space_of
from fewbits.search.goal import Goal
from fewbits.search.limits import Limit, parse_limit
from fewbits.search.outcome import Tuned
from fewbits.search.seek import Search
from fewbits.search.settings import Settings
from fewbits.search.tunedata import TuneData


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
