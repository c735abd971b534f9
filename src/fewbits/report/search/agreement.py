"""Predictions against what was measured: of plans, and of single layers by both kinds of sensitivity."""

from collections.abc import Sequence

from fewbits.report.cells import short
from fewbits.report.charts import Dot, Scale
from fewbits.report.charts._axes import legend, set_x, set_y
from fewbits.report.charts._tables import table_of_dots
from fewbits.report.charts.theme import DIM, Sheet, colours, drawn
from fewbits.report.page import Figure
from fewbits.search.agreement import rank_correlation
from fewbits.search.outcome import Tuned
from fewbits.search.sensitivity import Sensitivities

LEAST = 1e-7  # losses below it are not drawn: float32 cannot tell them


def plans_chart(tuned: Tuned) -> Figure:
    """Every plan that was looked at: predicted against measured loss."""
    shown = [t for t in tuned.tried if t.predicted > LEAST and t.measured > LEAST]
    dots = [
        Dot(
            x=t.measured,
            y=t.predicted,
            series={"step": "on the way"}.get(t.kind, t.kind),
            tip=f"{t.name or 'on the way'}\nmeasured {short(t.measured)}\npredicted {short(t.predicted)}",
        )
        for t in shown
    ]
    told = rank_correlation([t.predicted for t in shown], [t.measured for t in shown])
    sentence = f"Over {len(shown)} plans the rank correlation of predicted and measured loss is {told:.3f}."
    return _diagonal("Predicted and measured loss of plans", dots, sentence, "predicted")


def layers_chart(found: Sensitivities) -> Figure | None:
    """Every layer and scheme: the cheap sensitivities against the measured one; None where nothing was measured."""
    if found.measured is None:
        return None
    dots, told = [], []
    for name, table in (("along the error", found.cheap), ("diagonal", found.diagonal), ("both", found.estimate)):
        pairs = [
            (found.measured[u][c], table[u][c], unit.name, str(unit.options[c]))
            for u, unit in enumerate(found.space.units)
            for c in range(len(unit.options) - 1)
        ]
        told.append(f"{rank_correlation([p[0] for p in pairs], [p[1] for p in pairs]):.3f} ({name})")
        dots += [
            Dot(x=m, y=v, series=name, tip=f"{layer}\n{scheme}\nmeasured {short(m)}\n{name} {short(v)}")
            for m, v, layer, scheme in pairs
            if m > LEAST and v > LEAST
        ]
    sentence = f"Rank correlation with what was measured, one layer at a time: {', '.join(told)}."
    return _diagonal("Cheap sensitivities against measured ones", dots, sentence, "from gradients")


def _diagonal(title: str, dots: Sequence[Dot], sentence: str, label: str) -> Figure:
    """Points beside the line on which both are the same."""
    looks = colours([d.series for d in dots])
    x, y = Scale(label="measured loss", log=True), Scale(label=f"{label} loss", log=True)

    def paint(sheet: Sheet) -> None:
        (axes,) = sheet.axes()
        handles = {}
        small = len(dots) > 100
        for dot in dots:
            colour, marker = looks[dot.series]
            (made,) = axes.plot([dot.x], [dot.y], marker, color=colour, markersize=4 if small else 7, alpha=0.7, zorder=3)
            sheet.tell(made, dot.tip)
            handles.setdefault(dot.series, made)
        if dots:
            ends = [min(d.x for d in dots), max(d.x for d in dots)]
            axes.plot(ends, ends, color=DIM, linewidth=1.2, alpha=0.6, zorder=1.5)
        set_x(axes, x, most=5 if sheet.narrow else 9)
        set_y(axes, y)
        legend(sheet, handles)

    wide, narrow = drawn(title, paint, wide=420, narrow=360)
    data = table_of_dots(dots[:200], x, y)
    note = "The line is where both are equal."
    return Figure(title=title, sentence=sentence, wide=wide, narrow=narrow, data=data, note=note)
