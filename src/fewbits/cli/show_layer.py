"""What `inspect` prints: a layer in a terminal, with histograms of blocks, and its bits."""

from dataclasses import asdict
from math import log
from typing import Any

from rich.console import Console

import fewbits
from fewbits import strictjson
from fewbits.cli.tables import console, inert, table
from fewbits.formats import Format
from fewbits.inspect.values import Counts, GroupBits, LayerView
from fewbits.report.cells import plain, short
from fewbits.report.layer import words

BLOCKS = " ▁▂▃▄▅▆▇█"
HEIGHT = 6  # lines of a histogram


def layer(view: LayerView) -> None:
    """The whole layer, from its weights to its bits."""
    out = console()
    shape = " x ".join(map(str, view.weights.shape))
    out.print(f"[bold]{inert(view.model)}: {inert(view.name)}[/bold]  {inert(view.kind)}, {shape}, {view.weights.dtype}")
    out.print(f"\n[bold]weights[/bold] (counts on a logarithmic scale){_ticked(view)}")
    histogram(out, view.weights.counts, view.stored.grid if view.stored else ())
    out.print(words.about_weights(view.weights))
    if view.error is not None:
        out.print("\n[bold]errors[/bold] (stored less original)")
        histogram(out, view.error.counts)
        out.print(words.about_error(view.error))
        out.print(_wrong(view))
    if view.stored is not None:
        out.print("[bold]what is stored[/bold]")
        out.print(words.about_stored(view.stored))
        _bits(out, view)
    for note in view.notes:
        out.print(f"[yellow]{inert(note)}[/yellow]")


def document(view: LayerView) -> None:
    """The JSON document, on one line, the last of standard output. Bytes are hexadecimal."""
    print(strictjson.dumps({"fewbits": fewbits.__version__, "layer": _plain(asdict(view))}))


def histogram(out: Console, counts: Counts, grid: tuple[float, ...] = ()) -> None:
    """Blocks, their height the logarithm of the count; below them a mark for each value of a grid, and the ends."""
    for line in histogram_lines(counts, grid):
        out.print(line, markup=False, highlight=False)


def histogram_lines(counts: Counts, grid: tuple[float, ...] = ()) -> list[str]:
    """The lines of a histogram, from above to below."""
    most = max(counts.counts)
    heights = [log(1 + count) / log(1 + most) * HEIGHT * 8 for count in counts.counts]
    heights = [max(1.0, height) if count else 0.0 for height, count in zip(heights, counts.counts, strict=True)]
    lines = [
        "".join(BLOCKS[round(min(8, max(0, height - 8 * line)))] for height in heights) for line in range(HEIGHT - 1, -1, -1)
    ]
    width = len(counts.counts)
    rule = ["─"] * width
    for value in grid:
        at = int((value - counts.low) / (counts.high - counts.low or 1) * width)
        if 0 <= at <= width:
            rule[min(at, width - 1)] = "┴"
    low, high = short(counts.low), short(counts.high)
    return [*lines, "".join(rule), low + high.rjust(max(1, width - len(low)))]


def _ticked(view: LayerView) -> str:
    if view.stored is None:
        return ""
    return f"; ┴ the {len(view.stored.grid)} values that a group of middling scale can take"


def _wrong(view: LayerView) -> Any:
    rows = [
        [
            f"[{w.row}, {w.col}]",
            plain(w.weight, 5),
            plain(w.becomes, 5),
            plain(w.error, 5),
            plain(w.steps, 2),
            "clipped" if w.clipped else "",
        ]
        for w in (view.error.wrong if view.error else ())
    ]
    return table("most wrong", ["weight", "original", "becomes", "error", "in steps", ""], rows)


def _bits(out: Console, view: LayerView) -> None:
    if view.stored is None:
        return
    format = Format.parse(view.stored.scheme.rpartition(":")[2])
    out.print("[dim]codes follow one another from the rightmost bit of each byte; a point stands where the next begins[/dim]")
    for group in view.stored.shown:
        out.print(f"\n{words.about_group(group)}")
        out.print(_group(group))
        for line in words.group_lines(group, format):
            out.print(f"  {line}", markup=False, highlight=False)


def _group(group: GroupBits) -> Any:
    heads = ["", *(f"{row},{col}" for row, col in group.at)]
    rows = [["original", *(plain(w, 4) for w in group.weights)]] if group.weights else []
    rows += [["code", *map(str, group.codes)], ["stands for", *(plain(v, 4) for v in group.values)]]
    return table("", heads, rows)


def _plain(value: Any) -> Any:
    """Bytes as hexadecimal digits, all else as it is."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
