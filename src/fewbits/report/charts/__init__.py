"""Charts, one kind a file: plain figures in, a `Figure` (two drawings and a table) out. See `fewbits.report`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fewbits.report.charts._bars import bars as bars
    from fewbits.report.charts._histograms import histograms as histograms
    from fewbits.report.charts._lines import lines as lines
    from fewbits.report.charts._panels import panels as panels
    from fewbits.report.charts._scatter import scatter as scatter
    from fewbits.report.charts._spreads import spreads as spreads
    from fewbits.report.charts._stacks import stacks as stacks
    from fewbits.report.charts.values import Bar as Bar
    from fewbits.report.charts.values import Dot as Dot
    from fewbits.report.charts.values import Histogram as Histogram
    from fewbits.report.charts.values import Mark as Mark
    from fewbits.report.charts.values import Scale as Scale
    from fewbits.report.charts.values import Spread as Spread
    from fewbits.report.charts.values import Stack as Stack

_VALUES = ("Bar", "Dot", "Histogram", "Mark", "Scale", "Spread", "Stack")
__all__ = [
    "Bar",
    "Dot",
    "Histogram",
    "Mark",
    "Scale",
    "Spread",
    "Stack",
    "bars",
    "histograms",
    "lines",
    "panels",
    "scatter",
    "spreads",
    "stacks",
]


def __getattr__(name: str) -> Any:
    """Import a kind of chart when it is first needed."""
    if name not in __all__:
        raise AttributeError(f"module 'fewbits.report.charts' has no attribute '{name}'")
    module = "values" if name in _VALUES else f"_{name}"
    return getattr(import_module(f"fewbits.report.charts.{module}"), name)
