"""What is seen of a layer, as a page."""

import shlex

import fewbits
from fewbits.formats import Format
from fewbits.inspect.values import Channel, Counts, ErrorView, GroupBits, LayerView, StoredView
from fewbits.report.cells import number, plain, short
from fewbits.report.charts import Histogram, Scale, histograms
from fewbits.report.layer import words
from fewbits.report.page import Code, Column, Figure, Line, Page, Section, Table, Tile

FINEST = 64  # values of a grid that are told apart when drawn over a histogram


def compose(view: LayerView, command: str = "") -> Page:
    """The page. What does not apply (no scheme, no original) is left out. `command` is what was run to make it."""
    sections = [Section(title="The weights", parts=[words.about_weights(view.weights), _weights(view), *_channels(view)])]
    if view.error is not None:
        sections.append(
            Section(title="The error", parts=[words.about_error(view.error), _errors(view.error), _wrong(view.error)])
        )
    if view.stored is not None:
        sections += [_codes(view.stored), _bits(view.stored)]
    scheme = [str(view.stored.scheme)] if view.stored else []
    again = Code(text=command or shlex.join(["fewbits", "inspect", view.model, view.name, *scheme, "-o", "layer.html"]))
    sections.append(Section(title="To make it again", parts=[*view.notes, again]))
    shape = " x ".join(map(str, view.weights.shape))
    return Page(
        title=view.name,
        lede=f"A {view.kind} layer of {view.model}, {shape} weights"
        + (f", in `{view.stored.scheme}`." if view.stored else "."),
        tiles=_tiles(view),
        sections=sections,
        foot=f"Made by fewbits {fewbits.__version__}.",
    )


def _tiles(view: LayerView) -> list[Tile]:
    weights, found = view.weights, []
    if view.stored is not None:
        note = f"{view.stored.nbytes:,} bytes, scales and all"
        found.append(Tile(label="Bits a weight", value=f"{view.stored.bits_per_weight:.3f}", note=note))
    if view.error is not None:
        note = f"of the norm of the weights, {view.error.sqnr:.1f} dB"
        found.append(Tile(label="Error", value=f"{100 * view.error.relative:.3g} %", note=note))
        found.append(
            Tile(label="Clipped", value=f"{100 * view.error.clipped:.2g} %", note="of the weights, by their group's grid")
        )
    found.append(Tile(label="Kurtosis", value=f"{weights.kurtosis:.2f}", note="3 for a normal distribution"))
    return found


def _weights(view: LayerView) -> Figure:
    grid = view.stored.grid if view.stored is not None and len(view.stored.grid) <= FINEST else ()
    return _histogram("How the weights lie", view.weights.counts, words.about_grid(view), "weight", grid)


def _errors(error: ErrorView) -> Figure:
    sentence = (
        f"Errors reach from {short(error.counts.low)} to {short(error.counts.high)}; the farthest is"
        f" {error.worst / error.rms if error.rms else 0:.1f} times their root mean square. Errors of rounding alone end sharply at half"
        " a step; what lies beyond comes of larger steps or of clipping."
    )
    return _histogram("How the errors lie", error.counts, sentence, "stored weight less original weight")


def _histogram(title: str, counts: Counts, sentence: str, label: str, grid: tuple[float, ...] = ()) -> Figure:
    one = Histogram(title="number of weights, logarithmic", edges=counts.edges, counts=counts.counts, grid=grid)
    note = "Orange: the values that a group of middling scale can take." if grid else ""
    return histograms(title, [one], x=Scale(label=label), sentence=sentence, note=note, height=330)


def _channels(view: LayerView) -> list[Table]:
    found = [("input", c) for c in view.weights.inputs] + [("output", c) for c in view.weights.outputs]
    if not found:
        return []

    def line(what: str, channel: Channel) -> Line:
        return Line(cells=(f"{what} {channel.index}", short(channel.largest), number(channel.times, 1)))

    columns = (Column(head="channel"), Column(head="largest weight"), Column(head="times the median channel's"))
    return [Table(columns=columns, rows=[line(*each) for each in found], caption="Channels that stand out")]


def _wrong(error: ErrorView) -> Table:
    rows = [
        Line(
            cells=(
                f"row {w.row}, column {w.col}",
                plain(w.weight, 5),
                plain(w.becomes, 5),
                plain(w.error, 5),
                plain(w.steps, 2),
                "yes" if w.clipped else "no",
            )
        )
        for w in error.wrong
    ]
    heads = ("weight at", "original", "becomes", "error", "error in steps", "clipped")
    return Table(columns=[Column(head=head) for head in heads], rows=rows, caption="The most wrong weights")


def _codes(stored: StoredView) -> Section:
    edges = [code - 0.5 for code in range(len(stored.used) + 1)]
    most = max(range(len(stored.used)), key=lambda code: stored.used[code])
    share = 100 * stored.used[most] / max(1, sum(stored.used))
    one = Histogram(title="number of weights", edges=edges, counts=stored.used)
    figure = histograms(
        "How often each code is used",
        [one],
        x=Scale(label="code"),
        sentence=f"Code {most} is used most, for {share:.1f} % of the weights, where {100 / len(stored.used):.1f} % would be even.",
        log=False,
        height=260,
    )
    rows = [Line(cells=(name, f"{nbytes:,}")) for name, nbytes in stored.tensors.items()]
    table = Table(columns=(Column(head="tensor"), Column(head="bytes")), rows=rows, caption="What is stored")
    return Section(title="What is stored", parts=[words.about_stored(stored), figure, table])


def _bits(stored: StoredView) -> Section:
    format = Format.parse(stored.scheme.rpartition(":")[2])
    parts: list[str | Table | Code] = [
        "Codes lie one behind the other in a stream of bits that begins at the lowest (rightmost) bit of the first byte. Where one"
        " code ends and the next begins there is a point."
    ]
    for group in stored.shown:
        parts += [_group_table(group), Code(text=_group_text(group, format))]
    return Section(title="Down to the bits", parts=parts)


def _group_table(group: GroupBits) -> Table:
    columns = [Column(head=""), *(Column(head=f"{row}, {col}") for row, col in group.at)]
    rows = [Line(cells=("original", *(plain(w, 4) for w in group.weights)))] if group.weights else []
    rows += [
        Line(cells=("code", *map(str, group.codes))),
        Line(cells=("stands for", *(plain(v, 4) for v in group.values))),
    ]
    return Table(columns=columns, rows=rows, caption=words.about_group(group))


def _group_text(group: GroupBits, format: Format) -> str:
    return "\n".join(words.group_lines(group, format)) + "\n"
