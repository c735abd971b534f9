"""What the commands print: tables for people, and the JSON document."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from fewbits import strictjson
from fewbits.cli.tables import console, inert, mib, percent, table
from fewbits.evaluate.row import ORIGINAL, Row
from fewbits.evaluate.row import document as as_document
from fewbits.measure.result import Measure
from fewbits.report.cells import plain

Cell = Callable[[Measure], str]


def sizes(rows: Sequence[Row]) -> None:
    """What each plan takes, in MiB, beside the model as it is."""
    whole = rows[0].measures["size"].value
    heads = ["plan", "codes MiB", "scales MiB", "kept MiB", "size MiB", "smaller", "bits/weight", "quantized"]
    body = []
    for row in rows:
        size = row.measures["size"]
        parts, bits = size.parts, size.parts["bits_per_weight"]
        body.append(
            [
                row.short_label,
                *(mib(parts[part]) if parts[part] else "-" for part in ("codes", "meta", "kept")),
                mib(size.value),
                f"{whole / size.value:.2f} x",
                f"{bits:.3f}" if bits else "-",
                percent(row.coverage),
            ]
        )
    out = console()
    out.print(table(f"{rows[0].model}: {rows[0].measures['size'].parts['parameters']:,} parameters", heads, body))
    out.print(f"[dim]Bytes of the tensors that are stored, tied ones once.{inert(_kept(rows[-1]))}[/dim]")


def quantized(row: Row, folder: Path) -> None:
    """What was done to a model, and where it is."""
    out, size = console(), row.measures["size"]
    if row.plan is None:
        return
    counts: dict[tuple[str, str], list[int]] = {}
    for d in row.plan.decisions:
        key = (d.kind, str(d.scheme) if d.scheme else f"kept ({d.why})")
        counts.setdefault(key, []).append(d.params if d.tied_to is None else 0)
    body = [[kind, what, f"{len(params):,}", f"{sum(params):,}"] for (kind, what), params in counts.items()]
    out.print(table(f"{row.model} -> {folder}", ["layers", "scheme", "count", "weights"], body))
    before = row.extra["original"]["value"]
    out.print(
        f"{percent(row.coverage)} of parameters quantized in {row.measures['quantize_time'].value:.1f} s: "
        f"{mib(before)} MiB -> {mib(size.value)} MiB, {before / size.value:.2f} times smaller"
    )
    out.print(f"[dim]next: fewbits eval {inert(shlex.quote(str(folder)))}[/dim]")


COLUMNS: tuple[tuple[str, str, Cell], ...] = (
    ("size", "size MiB", lambda m: mib(m.value)),
    ("ppl", "perplexity", lambda m: f"{m.value:.3f}{_plus_minus(m, 2)}"),
    ("accuracy", "accuracy", lambda m: f"{100 * m.value:.2f}{_plus_minus(m, 2, 100.0)} %"),
    ("kl", "KL nats", lambda m: plain(m.value, 5)),
    ("top1", "same top-1", lambda m: f"{100 * m.value:.1f} %"),
    ("latency", "latency ms", lambda m: f"{1000 * m.value:.1f}"),
    ("prefill_speed", "read tok/s", lambda m: f"{m.value:,.0f}"),
    ("decode_speed", "write tok/s", lambda m: f"{m.value:,.1f}"),
    ("generate_time", "generate s", lambda m: f"{m.value:.3f}"),
    ("quantize_time", "quantize s", lambda m: f"{m.value:.2f}"),
    ("resident", "resident MiB", lambda m: mib(m.value)),
    ("peak_memory", "peak MiB", lambda m: mib(m.value)),
)


def evaluated(rows: Sequence[Row]) -> None:
    """Models side by side, a line each; below them how every column was measured."""
    columns = [c for c in COLUMNS if any(c[0] in row.measures or c[0] in row.errors for row in rows)]
    heads = ["model", "plan", "quantized", *(head for _, head, _ in columns)]
    body = []
    for row in rows:
        cells = [cell(row.measures[name]) if name in row.measures else "-" for name, _, cell in columns]
        body.append([row.model, row.short_label, percent(row.coverage) if row.problem is None else "-", *cells])
    out = console()
    out.print(table("", heads, body))
    for line in _protocols(rows, columns):
        out.print(f"[dim]{inert(line)}[/dim]")
    if sources := next((row.extra["data"] for row in rows if "data" in row.extra), None):
        out.print(f"[dim]measured on: {inert(', '.join(sources))}[/dim]")
    for note in dict.fromkeys(note for row in rows for note in row.notes):
        out.print(f"[yellow]{inert(note)}[/yellow]")
    for line in _reasons(rows):
        out.print(f"[red]{inert(line)}[/red]")


def _reasons(rows: Sequence[Row]) -> list[str]:
    """Why figures are missing, a line for each model and reason."""
    lines = []
    for row in rows:
        named = row.model if len(rows) == 1 or row.label == ORIGINAL else f"{row.model} {row.short_label}"
        if row.problem is not None:
            lines.append(f"{named}: {row.problem}")
            continue
        by_reason: dict[str, list[str]] = {}
        for name, reason in row.errors.items():
            by_reason.setdefault(reason, []).append(name)
        lines += [f"{named}: no {', '.join(names)}: {reason}" for reason, names in by_reason.items()]
    return lines


def piece(text: str) -> None:
    """A piece of text, at once."""
    print(text, end="", flush=True)


def written(row: Row) -> None:
    """The end of a text; on standard error how fast it came."""
    print(flush=True)
    read, wrote = row.measures["prefill_speed"], row.measures.get("decode_speed")
    speeds = f"read {read.value:,.0f} tokens/s" + (f", wrote {wrote.value:,.1f} tokens/s" if wrote else "")
    console(stderr=True).print(f"[dim]{inert(row.short_label)}: {speeds} ({read.protocol})[/dim]")


def document(rows: Sequence[Row]) -> None:
    """The JSON document, on one line, the last of standard output."""
    print(strictjson.dumps(as_document(rows)))


def _protocols(rows: Sequence[Row], columns: Sequence[tuple[str, str, Cell]]) -> list[str]:
    """One line for each way of measuring, with the columns that it made."""
    ways: dict[str, list[str]] = {}
    for name, head, _ in columns:
        for row in rows:
            if name in row.measures and row.measures[name].protocol:
                measure = row.measures[name]
                count = f", n = {measure.n:,}" if measure.n else ""
                ways.setdefault(f"{measure.protocol}{count}", []).append(head)
                break
    return [f"{', '.join(heads)}: {way}" for way, heads in ways.items()]


def _plus_minus(measure: Measure, digits: int, times: float = 1.0) -> str:
    return "" if measure.se is None else f" ± {times * measure.se:.{digits}f}"


def _kept(row: Row) -> str:
    if row.plan is None:
        return ""
    kept = [d.name for d in row.plan.decisions if d.scheme is None]
    return f" Kept: {', '.join(kept[:6])}{', ...' if len(kept) > 6 else ''}." if kept else ""
