"""What layers tell: what each loses alone, how far each is from its original, how its weights lie."""

from collections.abc import Sequence
from statistics import median

from fewbits.report.cells import short
from fewbits.report.charts import Dot, Histogram, Scale, Spread, histograms, panels, spreads
from fewbits.report.layernames import OTHER, Place, places
from fewbits.report.page import Figure, Number
from fewbits.report.study.view import View, called
from fewbits.study.results import LayerLoss, LayerWeights, RowResult, Sensitivity, Weights, other_schemes

SHOWN = 6  # histograms on a page
BLOCK = Scale(label="block")


def loss_alone(one: Sensitivity, *, model: str = "") -> Figure | None:
    """Bars by block and kind: the loss when a layer alone is quantized."""
    if not one.layers:
        return None
    where = _ordered(places([layer.name for layer in one.layers]))
    dots = [
        (place.kind, Dot(x=x, y=one.layers[at].loss, label=place.name)) for at, x, place in where
    ]  # the layer's own name in the tooltip
    return panels(
        f"Loss of each layer when it alone is {one.scheme}{model}",
        dots,
        x=BLOCK,
        y=Scale(label=f"loss, {one.unit}", low=0 if min(layer.loss for layer in one.layers) >= 0 else None),
        sentence=loss_sentence(one),
        note=" ".join(filter(None, (_measured_on(one), other_schemes(one.scheme, one.layers)))),
    )


def _measured_on(one: Sensitivity) -> str:
    told = ", ".join(part.rstrip(".") for part in (one.protocol, one.data) if part)
    return f"Measured on: {told}." if told else ""


def loss_sentence(one: Sensitivity) -> str:
    """The layer that loses most, and how much of all loss the worst tenth makes up."""
    ranked = sorted(one.layers, key=lambda layer: -layer.loss)
    first, middle = ranked[0], median(layer.loss for layer in ranked)
    total = sum(max(layer.loss, 0.0) for layer in ranked)
    tenth = max(1, round(len(ranked) / 10))
    share = sum(max(layer.loss, 0.0) for layer in ranked[:tenth]) / total if total > 0 else 0.0
    times = f", {first.loss / middle:.1f} times the median layer" if middle > 0 else ""
    told = f"`{first.name}` loses most, {short(first.loss)} {one.unit}{times}"
    count = (
        f"the {tenth} most sensitive of {len(ranked)} layers make" if tenth > 1 else f"that one of {len(ranked)} layers makes"
    )
    return f"{told}; {count} up {100 * share:.0f} % of the sum{_by_params(ranked)}."


def _by_params(ranked: Sequence[LayerLoss]) -> str:
    """Which layer loses most for its size: the one where a byte more is best spent."""
    best = max(ranked, key=lambda layer: layer.loss / layer.params)
    return "" if best is ranked[0] else f", and for its size `{best.name}` loses most"


def error_by_layer(view: View, *, model: str = "") -> Figure | None:
    """Lines by block and kind: the relative error of the weights, one line for each width of the richest series."""
    rows = _told_by_layer(view)
    if not rows:
        return None
    dots = []
    for row in rows:
        for at, x, place in _ordered(places([layer.name for layer in row.layers])):
            dots.append((place.kind, Dot(x=x, y=100 * row.layers[at].error, series=row.label, label=place.name)))
    values = [dot.y for _, dot in dots]
    log = min(values) > 0 and max(values) / min(values) > 5
    return panels(
        f"Error of the weights by layer{model}",
        dots,
        x=BLOCK,
        y=Scale(label="relative error, % of the norm of the weights", log=log),
        sentence=error_sentence(rows),
    )


def error_sentence(rows: Sequence[RowResult]) -> str:
    """Between which layers the error lies, and what a bit makes of it."""
    told = []
    for row in (rows[0], rows[-1])[: len(rows)]:
        ranked = sorted(row.layers, key=lambda layer: layer.error)
        least, most = ranked[0], ranked[-1]
        told.append(
            f"{called(row)} errs by {100 * least.error:.3g} % (`{least.name}`) to {100 * most.error:.3g} % (`{most.name}`)"
        )
    if len(rows) == 1:
        return told[0] + "."
    few, many = sorted((rows[0], rows[-1]), key=lambda row: row.bits or 0)
    step = (many.bits or 0) - (few.bits or 0)
    ratio = median(layer.error for layer in few.layers) / median(layer.error for layer in many.layers)
    each = f"; each bit fewer multiplies the median layer's error by {ratio ** (1 / step):.2f}" if step > 0 else ""
    return f"{told[0]}, {told[1]}{each}."


def _told_by_layer(view: View) -> list[RowResult]:
    """Of the series with most widths, a row a width, at most five; else the first rows that tell of layers."""
    rows = [row for row in view.made if row.layers]
    by_series: dict[str, dict[Number, RowResult]] = {}
    for row in rows:
        if row.bits is not None and row.peer is None:
            by_series.setdefault(row.series, {}).setdefault(row.bits, row)
    if by_series:
        widest = max(by_series.values(), key=len)
        if len(widest) > 1:
            return [widest[bits] for bits in sorted(widest, reverse=True)][:5]
    return rows[:4]


def weights_by_layer(one: Weights, *, model: str = "") -> list[Figure]:
    """Two charts: the ranges of all layers, and histograms of a few, from the heaviest tails to the lightest."""
    layers = [layer for layer in one.layers if sum(layer.counts)]
    if not layers:
        return []
    named = [(place, layers[at], x) for at, x, place in _ordered(places([layer.name for layer in layers]))]
    ranges = [
        Spread(
            panel=place.kind,
            x=place.block if place.block is not None else int(x),
            quantiles=quantiles(layer),
            grid=layer.grid,
            tip=f"{layer.name}\nfrom {short(layer.low)} to {short(layer.high)}, standard deviation {short(layer.std)}\n"
            f"kurtosis {layer.kurtosis:.2f}, {100 * layer.outside:.2g} % beyond the grid",
        )
        for place, layer, x in named
    ]
    chosen = _few(layers)
    return [
        spreads(
            f"Weights by layer, with the grid of {one.scheme}{model}",
            ranges,
            x=BLOCK,
            y=Scale(label="weight"),
            sentence=range_sentence(layers),
            note="Thin: from the least to the largest weight; thicker: 98 % of them; thickest: the middle half. Orange: the values"
            f" that a group of middling scale can take. {other_schemes(one.scheme, layers)}".rstrip(),
        ),
        histograms(
            f"Weights of {len(chosen)} layers, from the heaviest tails to the lightest{model}",
            [
                Histogram(
                    title=_tail(layer.name),
                    edges=edges(layer),
                    counts=layer.counts,
                    grid=layer.grid,
                    note=f"kurtosis {layer.kurtosis:.1f}, {100 * layer.outside:.2g} % beyond the grid",
                )
                for layer in chosen
            ],
            x=Scale(label="weight"),
            sentence=tail_sentence(layers),
            note="Counts are on a logarithmic axis, so that the few far weights are seen.",
        ),
    ]


def range_sentence(layers: Sequence[LayerWeights]) -> str:
    """Which layer reaches farthest, in its own standard deviations."""
    reach = {layer.name: max(-layer.low, layer.high) / layer.std for layer in layers if layer.std > 0}
    if not reach:
        return "All weights are the same."
    far, near = max(reach, key=lambda n: reach[n]), min(reach, key=lambda n: reach[n])
    outside = sum(layer.outside * layer.params for layer in layers) / sum(layer.params for layer in layers)
    return (
        f"The farthest weight of `{far}` is {reach[far]:.1f} standard deviations out, that of `{near}` {reach[near]:.1f};"
        f" {100 * outside:.2g} % of all weights lie beyond the ends of their group's grid."
    )


def tail_sentence(layers: Sequence[LayerWeights]) -> str:
    """The heaviest and lightest tails."""
    ranked = sorted(layers, key=lambda layer: -layer.kurtosis)
    heavy, light = ranked[0], ranked[-1]
    above = sum(layer.kurtosis > 4 for layer in layers)
    return (
        f"`{heavy.name}` has the heaviest tails (kurtosis {heavy.kurtosis:.1f}; a normal distribution has 3),"
        f" `{light.name}` the lightest ({light.kurtosis:.1f}); {above} of {len(layers)} layers are above 4."
    )


def quantiles(layer: LayerWeights) -> tuple[Number, Number, Number, Number, Number, Number, Number]:
    """Least, 1, 25, 50, 75 and 99 %, largest, by the counts: to a bin at the ends, within a bin linearly between them."""
    inner = [_quantile(layer, q) for q in (0.01, 0.25, 0.5, 0.75, 0.99)]
    ends, full = edges(layer), [at for at, count in enumerate(layer.counts) if count]
    return ends[full[0]], inner[0], inner[1], inner[2], inner[3], inner[4], ends[full[-1] + 1]


def edges(layer: LayerWeights) -> list[Number]:
    """The ends of the bins."""
    count = len(layer.counts)
    return [layer.low + (layer.high - layer.low) * at / count for at in range(count + 1)]


def _quantile(layer: LayerWeights, q: Number) -> Number:
    wanted, seen, ends = q * sum(layer.counts), 0, edges(layer)
    for at, count in enumerate(layer.counts):
        if count and seen + count >= wanted:
            return ends[at] + (ends[at + 1] - ends[at]) * (wanted - seen) / count
        seen += count
    return layer.high


def _few(layers: Sequence[LayerWeights]) -> list[LayerWeights]:
    """At most six, evenly spread over the order of kurtosis."""
    ranked = sorted(layers, key=lambda layer: -layer.kurtosis)
    count = min(SHOWN, len(ranked))
    return [ranked[round(at * (len(ranked) - 1) / max(1, count - 1))] for at in range(count)]


def _ordered(found: Sequence[Place]) -> list[tuple[int, Number, Place]]:
    """Index, place on the x axis and place: kinds in the order of their first coming, what is outside the blocks last."""
    outside = [at for at, place in enumerate(found) if place.block is None]
    order = sorted(range(len(found)), key=lambda at: found[at].kind == OTHER)
    return [(at, float(outside.index(at)) if (b := found[at].block) is None else float(b), found[at]) for at in order]


def _tail(name: str) -> str:
    """The end of a name, as much as fits above a panel."""
    parts = name.split(".")
    number = next((at for at, part in enumerate(parts) if part.isdigit()), None)
    short_name = ".".join(parts[number:]) if number is not None else ".".join(parts[-2:])
    return f"block {short_name.replace('.', ' ', 1)}" if number is not None else short_name
