"""Why the expensive layers are expensive."""

from collections.abc import Sequence

from fewbits.report.cells import short
from fewbits.report.page import Cell, Column, Line, Table
from fewbits.search.explain import LayerFacts
from fewbits.search.frontier import Table as Losses
from fewbits.search.space import Space

MOST = 12


def why_table(space: Space, losses: Losses, facts: Sequence[LayerFacts], choice: Sequence[int] | None = None) -> Table:
    """The layers that lose most in the first candidate, with what stands out in them."""
    by_name = {fact.name: fact for fact in facts}
    order = sorted(range(len(space.units)), key=lambda u: -losses[u][0])[:MOST]
    rows = []
    for u in order:
        unit = space.units[u]
        ones = [by_name[name] for name in unit.layers]
        kurtosis = max(one.kurtosis for one in ones)
        loudest = max((one.loudest for one in ones if one.loudest is not None), default=None)
        rows.append(
            Line(
                cells=(
                    unit.name,
                    *(() if choice is None else (str(unit.options[choice[u]]),)),
                    Cell(text=short(losses[u][0])),
                    Cell(text=short(1e6 * losses[u][0] / unit.params)),
                    Cell(text=f"{kurtosis:.1f}"),
                    Cell(text="-" if loudest is None else f"{loudest:.1f}"),
                    "; ".join(filter(None, (one.why for one in ones))) or "nothing",
                )
            )
        )
    columns = (
        Column(head="layer"),
        *(() if choice is None else (Column(head="takes", text=True),)),
        Column(head=f"loses in {space.units[order[0]].options[0]}"),
        Column(head="a million weights"),
        Column(head="kurtosis"),
        Column(head="loudest input"),
        Column(head="stands out", text=True),
    )
    note = (
        "Kurtosis is the excess over the normal distribution's. The loudest input channel is in root mean squares of the middle"
        " one, as seen on the data chosen by. Where nothing stands out, a layer is many weights, or much used."
    )
    return Table(columns=columns, rows=rows, note=note)
