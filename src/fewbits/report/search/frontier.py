"""Bytes against loss: the frontier as predicted, and plans as measured, with their standard errors."""

from collections.abc import Sequence

from fewbits.report.cells import MIB, short
from fewbits.report.charts._axes import legend, set_x, set_y
from fewbits.report.charts._tables import table_of_dots
from fewbits.report.charts.theme import DIM, Sheet, colours, drawn
from fewbits.report.charts.values import Dot, Scale
from fewbits.report.page import Figure
from fewbits.search.frontier import Frontier
from fewbits.search.outcome import Tried, Tuned

Z = 1.96
NAMES = {"tuned": "this plan", "uniform": "uniform", "by hand": "by hand", "step": "tuned, on the way"}
X = Scale(label="size, MiB")


def frontier_chart(tuned: Tuned) -> Figure:
    """Plans by size and measured loss on the data chosen by, the predicted frontier a line."""
    hull = tuned.sensitivities.frontier()
    best = tuned.chosen
    dots = [_dot(t, mine=t.choice == best.choice) for t in tuned.tried]
    line = _within(hull, [d.x * MIB for d in dots])
    beside = tuned.best_uniform
    sentence = f"This plan loses {short(best.measured)} at {best.nbytes / MIB:.3f} MiB"
    if beside is not None and beside.choice != best.choice:
        sentence += f"; the best uniform plan of no more bytes, `{beside.name}`, {short(beside.measured)}"
    note = (
        "Bars are 1.96 standard errors, over windows of text or images. The data is that which plans are chosen by; what the"
        " plan measures on other data stands in the table above."
    )
    return _drawn(f"Loss against size, {_unit(tuned)}", dots, line, sentence + ".", note, f"loss, {_unit(tuned)}")


def _unit(tuned: Tuned) -> str:
    return "KL divergence in nats" if tuned.original.main == "kl" else "rise of the loss"


def _dot(tried: Tried, *, mine: bool) -> Dot:
    floor = max(tried.measured, 1e-9)
    tip = (
        f"{tried.name or NAMES[tried.kind]}\n{tried.nbytes / MIB:.3f} MiB\nmeasured {short(tried.measured)} ± {short(tried.se)}"
        f"\npredicted {short(tried.predicted)}"
    )
    return Dot(
        x=tried.nbytes / MIB,
        y=floor,
        series=NAMES["tuned" if mine else tried.kind],
        label=tried.name if tried.kind in ("uniform", "by hand") else "",
        tip=tip,
        low=max(floor - Z * tried.se, floor / 10),
        high=floor + Z * tried.se,
    )


def _within(hull: Frontier, sizes: Sequence[float]) -> list[tuple[float, float]]:
    """The hull over the range of the plans, in MiB, without what loses nothing."""
    low, high = min(sizes) * 0.98, max(sizes) * 1.02
    return [(p.cost / MIB, p.loss) for p in hull.points if low <= p.cost <= high and p.loss > 1e-7]


def _drawn(
    title: str, dots: Sequence[Dot], line: Sequence[tuple[float, float]], sentence: str, note: str, label: str
) -> Figure:
    order = ["this plan", "tuned, on the way", "uniform", "by hand"]
    looks = colours([name for name in order if any(d.series == name for d in dots)])
    y = Scale(label=label, log=True)

    def paint(sheet: Sheet) -> None:
        (axes,) = sheet.axes()
        (drawn_line,) = axes.plot([p[0] for p in line], [p[1] for p in line], color=DIM, linewidth=1.4, zorder=1.5)
        handles = {"frontier, predicted": drawn_line}
        for name, (colour, marker) in reversed(looks.items()):
            for dot in (d for d in dots if d.series == name):
                if dot.low is not None and dot.high is not None:
                    axes.plot([dot.x] * 2, [dot.low, dot.high], color=colour, linewidth=1.2, alpha=0.7, zorder=2)
                size = 11 if name == "this plan" else 7
                (made,) = axes.plot(
                    [dot.x], [dot.y], "*" if name == "this plan" else marker, color=colour, markersize=size, zorder=3
                )
                sheet.tell(made, dot.tip)
                handles.setdefault(name, made)
        set_x(axes, X, most=5 if sheet.narrow else 9)
        set_y(axes, y)
        legend(sheet, {name: handles[name] for name in ("frontier, predicted", *looks)})

    wide, narrow = drawn(title, paint, wide=460, narrow=380)
    data = table_of_dots(dots, X, y)
    return Figure(title=title, sentence=sentence, wide=wide, narrow=narrow, data=data, note=note)
