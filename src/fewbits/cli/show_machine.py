"""What `doctor` and `bench` print: the limits first, then layers, then models, each beside its limit."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import fewbits
from fewbits import machine, strictjson
from fewbits.cli import show_decoding, show_gpu
from fewbits.cli.tables import MIB, console, mib, percent, table
from fewbits.doctor.bench import Decoding
from fewbits.doctor.examine import Examined
from fewbits.doctor.gpu_limits import GpuLimits
from fewbits.doctor.layers import FLOAT, LayerTime
from fewbits.doctor.limits import Limits
from fewbits.doctor.predict import Prediction, Speeds


def limits(found: Limits) -> None:
    """The machine, a line each."""
    lines = {
        "CPU": f"{found.cpu}, {found.cores} cores, {found.threads} threads used",
        "instructions": " ".join(found.features) or "none that kernels are written for",
        "memory": f"{found.memory / MIB / 1024:.1f} GiB; largest cache {found.cache / MIB:.0f} MiB",
        "reads memory": f"{found.bandwidth / 1e9:.1f} GB/s, with one thread {found.bandwidth_1 / 1e9:.1f} GB/s",
        "kernels": f"{found.kernels}: linear layers of 1 to 8 bits and codebooks up to 4, groups of 4, 8, 16, 32, 64, ... or a channel"
        if found.kernels
        else f"none: {found.why_not}",
    }
    for name, text in lines.items():
        console().print(f"{name:14s}{text}")


def examined(found: Examined, bounds: Limits) -> None:
    """Layers, then speeds: predicted, and measured beside them if they were."""
    out = console()
    formats = list(dict.fromkeys(t.format for t in found.times))
    body = []
    for (rows, cols), count in found.shapes.items():
        ones = {t.format: t for t in found.times if (t.rows, t.cols, t.batch) == (rows, cols, 1)}
        body.append([f"{rows} x {cols}", str(count), *(_microseconds(ones.get(name)) for name in formats)])
    out.print(table(f"\n{found.model}: one row through a layer, microseconds", ["outputs x inputs", "layers", *formats], body))
    without = sorted({t.format for t in found.times if not t.kernel and t.format != FLOAT})
    if without:
        out.print(f"[yellow]no kernel for {', '.join(without)} here: dequantized at each use[/yellow]")
    batches = [
        f"{plan}: {'none up to 256' if b is None else b}" for plan, b in zip(found.plans, found.slower_from, strict=True)
    ]
    out.print(f"[dim]rows from which the layers together are not faster than in float32: {'; '.join(batches)}[/dim]")
    if found.predictions:
        _predictions(found.predictions, bounds)


def _predictions(made: Sequence[Prediction], bounds: Limits) -> None:
    out, checked = console(), made[0].measured is not None
    heads = ["plan", "size MiB", "read tok/s", "write tok/s", "faster", "of bandwidth", "load s"]
    if checked:
        heads += ["measured: read", "write", "load", "prediction off by"]
    body = []
    for each in made:
        p = each.predicted
        row = [str(each.plan) if each.plan else "as it is", mib(each.size), f"{p.read:,.0f}", f"{p.write:,.1f}"]
        row += [f"{p.write / made[0].predicted.write:.2f} x", percent(each.share), "-" if p.load is None else f"{p.load:.2f}"]
        if m := each.measured:
            row += [f"{m.read:,.0f}", f"{m.write:,.1f}", "-" if m.load is None else f"{m.load:.2f}", _off(p, m)]
        body.append(row)
    out.print(table("\npredicted from random weights of the same configuration", heads, body))
    out.print(
        "[dim]as `fewbits generate` writes: one sequence, prompt 64, new 24, float32, "
        f"{bounds.threads} threads, the fastest run of each[/dim]"
    )


def _off(predicted: Speeds, measured: Speeds) -> str:
    """By how much the predicted speeds of reading and writing, and the time to load, are too high (+) or low (-)."""
    pairs = [(predicted.read, measured.read), (predicted.write, measured.write)]
    if predicted.load is not None and measured.load is not None:
        pairs.append((predicted.load, measured.load))
    return " ".join(f"{100 * (a / b - 1):+.0f} %" for a, b in pairs)


def kernels(times: Sequence[LayerTime], bounds: Limits) -> None:
    """Layers, with the share of the limit that their reading of weights takes."""
    plain = {(t.rows, t.cols, t.batch): t.seconds for t in times if t.format == FLOAT}
    body = [
        [
            f"{t.rows} x {t.cols}",
            str(t.batch),
            t.format + ("" if t.kernel or t.format == FLOAT else " (no kernel)"),
            _microseconds(t),
            f"{t.rate / 1e9:.1f}",
            percent(t.rate / bounds.bandwidth),
            f"{plain[t.rows, t.cols, t.batch] / t.seconds:.2f} x",
        ]
        for t in times
    ]
    heads = ["outputs x inputs", "rows", "format", "median us", "weights GB/s", "of bandwidth", "float32 takes"]
    console().print(table("\none linear layer, its weight from memory", heads, body))


def decoding(made: Sequence[Decoding], bounds: Limits) -> None:
    """Models that write, with the share of the limit."""
    title = f"{made[0].model}: one sequence, prompt 64, new 24, the fastest run of each"
    show_decoding.decoding(made, bounds, title, FLOAT)


def machine_document(
    bounds: Limits,
    found: Examined | None = None,
    times: Sequence[LayerTime] = (),
    made: Sequence[Decoding] = (),
    gpu: GpuLimits | None = None,
    written: Sequence[Decoding] = (),
) -> None:
    """The JSON document on one line. `written`: on the GPU."""
    layers = found.times if found else times
    results: list[dict[str, Any]] = [_predicted(found, at) for at in range(len(found.predictions))] if found else []
    results += [show_decoding.decoded(d, bounds, "prompt 64, new 24, batch 1, greedy, KV cache, the fastest run") for d in made]
    if gpu is not None:
        results += [
            show_decoding.decoded(d, gpu, f"batch 1, greedy, KV cache, {show_gpu.HOW}") | {"gpu": gpu.name} for d in written
        ]
    document = {
        "fewbits": fewbits.__version__,
        "machine": machine.describe(),
        "limits": asdict(bounds),
        "layers": [asdict(t) for t in layers],
        "results": results,
    }
    print(strictjson.dumps(document))


def _predicted(found: Examined, at: int) -> dict[str, Any]:
    """A row of the document: its measures are predictions, `measured` beside them after a check."""
    each = found.predictions[at]
    how = "predicted from random weights; prompt 64, new 24, batch 1, the fastest run"
    units = {"prefill_speed": "tokens/s", "decode_speed": "tokens/s", "load_time": "s"}

    def values(speeds: Speeds | None) -> dict[str, float | None]:
        return {} if speeds is None else dict(zip(units, (speeds.read, speeds.write, speeds.load), strict=True))

    predicted, measured = values(each.predicted), values(each.measured)
    measures: dict[str, Any] = {"size": {"value": each.size, "unit": "B"}}
    for name, unit in units.items():
        if predicted[name] is not None:
            measures[name] = {"value": predicted[name], "unit": unit, "protocol": how}
            measures[name] |= {"measured": measured[name]} if measured else {}
    return {
        "model": found.model,
        "plan": str(each.plan) if each.plan else "as it is",
        "coverage": each.plan.coverage if each.plan else 0.0,
        "measures": measures,
        "bytes_per_token": each.bytes_per_token,
        "share_of_bandwidth": each.share,
        "slower_from": None if at == 0 else found.slower_from[at - 1],
    }


def _microseconds(time: LayerTime | None) -> str:
    return "-" if time is None else f"{time.seconds * 1e6:,.0f}"
