"""What `doctor` and `bench` print of a GPU: its limit first, then which kernels run, then products beside the limit."""

from collections.abc import Sequence

from fewbits.cli import show_decoding
from fewbits.cli.tables import console, percent, table
from fewbits.doctor.bench import Decoding
from fewbits.doctor.gpu_bench import PLAIN
from fewbits.doctor.gpu_limits import GpuLimits
from fewbits.doctor.gpu_writing import NEW, PROMPT
from fewbits.doctor.layers import LayerTime

HOW = f"prompt {PROMPT}, new {NEW}, the median run of each"


def limits(found: GpuLimits) -> None:
    """The GPU, a line each."""
    lines = {
        "GPU": f"{found.name}, {found.processors} multiprocessors, {found.memory / 2**30:.0f} GiB",
        "copies memory": f"{found.bandwidth / 1e12:.2f} TB/s, read and written",
        **{f"  {rows}": what for rows, what in found.kernels.items()},
    }
    for name, text in lines.items():
        console().print(f"{name:14s}{text}")


def products(times: Sequence[LayerTime], bounds: GpuLimits) -> None:
    """Layers, with the share of the limit that their reading of weights takes."""
    plain = {(t.rows, t.cols, t.batch): t.seconds for t in times if t.format == PLAIN}
    body = [
        [
            f"{t.rows} x {t.cols}",
            str(t.batch),
            t.format,
            f"{t.seconds * 1e6:.2f}",
            percent(t.rate / bounds.bandwidth),
            f"{plain[t.rows, t.cols, t.batch] / t.seconds:.2f} x",
        ]
        for t in times
    ]
    heads = ["outputs x inputs", "rows", "weights", "median us", "of bandwidth", "bf16 takes"]
    console().print(table(f"\none linear layer on {bounds.name}, its weight from far memory", heads, body))


def writing(made: Sequence[Decoding], bounds: GpuLimits) -> None:
    """Models that write, with the share of the limit."""
    show_decoding.decoding(made, bounds, f"{made[0].model} on {bounds.name}: one sequence, {HOW}", PLAIN)
