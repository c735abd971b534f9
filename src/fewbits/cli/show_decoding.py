"""Models that write, on the CPU as on a GPU: each beside the bandwidth of its memory."""

from collections.abc import Sequence
from typing import Any

from fewbits.cli.tables import console, percent, table
from fewbits.doctor.bench import Decoding
from fewbits.doctor.gpu_limits import GpuLimits
from fewbits.doctor.limits import Limits


def decoding(made: Sequence[Decoding], bounds: Limits | GpuLimits, title: str, dtype: str) -> None:
    """A table of them, the first as it is in `dtype`, with the share of the limit."""
    heads = ["plan", "write tok/s", "MB a token", "of bandwidth", "faster"]
    body = [
        [
            str(d.plan) if d.plan else f"as it is, {dtype}",
            f"{d.speed:,.1f}",
            f"{d.bytes_per_token / 1e6:.1f}",
            percent(d.share(bounds)),
            f"{d.speed / made[0].speed:.2f} x",
        ]
        for d in made
    ]
    console().print(table(f"\n{title}", heads, body))


def decoded(made: Decoding, bounds: Limits | GpuLimits, how: str) -> dict[str, Any]:
    """One of them in the JSON document. `how`: the protocol."""
    return {
        "model": made.model,
        "plan": str(made.plan) if made.plan else "as it is",
        "coverage": made.plan.coverage if made.plan else 0.0,
        "measures": {"decode_speed": {"value": made.speed, "unit": "tokens/s", "protocol": how}},
        "bytes_per_token": made.bytes_per_token,
        "share_of_bandwidth": made.share(bounds),
    }
