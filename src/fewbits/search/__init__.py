"""Finding plans: how sensitive each layer is, the frontier of bytes against loss, and tuning to limits in the user's units."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fewbits.search.candidates import space_of
    from fewbits.search.frontier import Frontier, solve
    from fewbits.search.goal import Goal
    from fewbits.search.limits import Limit, parse_limit
    from fewbits.search.objective import Divergence, LossRise
    from fewbits.search.outcome import Tuned
    from fewbits.search.seek import Search
    from fewbits.search.sensitivity import Sensitivities, sensitivities
    from fewbits.search.settings import Settings
    from fewbits.search.space import Space
    from fewbits.search.tune import tune
    from fewbits.search.tunedata import TuneData, image_data, loss_data, text_data

_PUBLIC = {
    "Divergence": "fewbits.search.objective",
    "Frontier": "fewbits.search.frontier",
    "Goal": "fewbits.search.goal",
    "Limit": "fewbits.search.limits",
    "LossRise": "fewbits.search.objective",
    "Sensitivities": "fewbits.search.sensitivity",
    "Space": "fewbits.search.space",
    "Search": "fewbits.search.seek",
    "Settings": "fewbits.search.settings",
    "TuneData": "fewbits.search.tunedata",
    "image_data": "fewbits.search.tunedata",
    "loss_data": "fewbits.search.tunedata",
    "text_data": "fewbits.search.tunedata",
    "Tuned": "fewbits.search.outcome",
    "parse_limit": "fewbits.search.limits",
    "sensitivities": "fewbits.search.sensitivity",
    "solve": "fewbits.search.frontier",
    "space_of": "fewbits.search.candidates",
    "tune": "fewbits.search.tune",
}

__all__ = [
    "Divergence",
    "Frontier",
    "Goal",
    "Limit",
    "LossRise",
    "Search",
    "Sensitivities",
    "Settings",
    "Space",
    "TuneData",
    "Tuned",
    "image_data",
    "loss_data",
    "parse_limit",
    "sensitivities",
    "solve",
    "space_of",
    "text_data",
    "tune",
]


def __getattr__(name: str) -> Any:
    """Import torch when it is first needed."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fewbits.search' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)
