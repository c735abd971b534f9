"""Kernels and decoding, each beside the machine's limit: the bandwidth of its memory."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import psutil
from torch import nn

from fewbits import models
from fewbits.doctor.gpu_limits import GpuLimits
from fewbits.doctor.layers import LayerTime, time_layer
from fewbits.doctor.limits import Limits
from fewbits.doctor.predict import best, bytes_per_token, plain_plan, time_models, twin
from fewbits.errors import FewbitsError
from fewbits.measure.speed import Timing
from fewbits.plan import Plan
from fewbits.progress import track

SHAPES = ("2048x2048", "8192x2048", "2048x8192")
BATCHES = (1, 16, 128)
SCHEMES = ("int8", "uint4g64", "uint3g64", "uint2g64", "nf4g64")


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """Writing by one model under one plan (None: as it is): tokens/s, and bytes of weights of each token."""

    model: str
    plan: Plan | None
    speed: float
    bytes_per_token: int

    def share(self, limits: Limits | GpuLimits) -> float:
        """Of what the bandwidth would allow, if every weight came from memory."""
        return self.speed * self.bytes_per_token / limits.bandwidth


def parse_shape(text: str, batch: int = 1) -> tuple[int, int]:
    """Parse the shape of a linear layer, such as `2048x8192`.

    Args:
        text: Outputs, `x`, inputs.
        batch: Rows of the largest input that the layer is timed on.

    Returns:
        Outputs and inputs.

    Raises:
        FewbitsError: The text is not a shape, or the layer in float32 with its inputs and outputs would take more than a
            quarter of the free memory.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,11})x([1-9][0-9]{0,11})", text)
    if found is None:
        raise FewbitsError(f"a shape is OUTPUTSxINPUTS, such as 2048x8192, not '{text}'")
    rows, cols = int(found[1]), int(found[2])
    needed, free = 4 * (rows * cols + batch * (rows + cols)), psutil.virtual_memory().available
    if needed > free // 4:
        raise FewbitsError(
            f"shape {text}, batch {batch:,}: takes {needed / 2**30:,.1f} GiB in float32, and timings need several copies;"
            f" {free / 2**30:,.1f} GiB are free: choose a smaller one"
        )
    return rows, cols


def time_kernels(shapes: Sequence[str], schemes: Sequence[str], batches: Sequence[int]) -> list[LayerTime]:
    """One layer of each shape in each scheme, on each batch."""
    sizes = [parse_shape(shape, max(batches)) for shape in shapes]
    formats = [str(scheme.format) for plan in map(Plan.of, schemes) if (scheme := plan.rules[0].scheme) is not None]
    return [t for size in track(sizes, "timing layers", unit="shape") for t in time_layer(*size, formats, batches)]


def as_trained(name: str, dtype: str) -> nn.Module:
    """A causal language model to time writing of. Raises FewbitsError for any other, and for one that is quantized."""
    from fewbits.apply import plan_of

    loaded = models.load(name, dtype=dtype)
    if loaded.task != "causal-lm" or plan_of(loaded.model) is not None:
        raise FewbitsError(f"{name}: decoding is timed of a causal language model as it was trained")
    return loaded.model


def time_decoding(name: str, schemes: Sequence[str], repeats: int) -> list[Decoding]:
    """Writing by a model in float32 as it is and in each scheme, in turn."""
    from fewbits.apply import plan_of, quantize

    model = as_trained(name, "float32")
    plans = [plain_plan(Plan.of(scheme)) for scheme in schemes]
    sides = [model, *(quantize(twin(model), plan) for plan in plans)]
    runs = time_models(sides, Timing(repeats=repeats, warmup=1))
    return [
        Decoding(model=name, plan=plan_of(side), speed=best(run.decode_speed), bytes_per_token=bytes_per_token(side, 4))
        for side, run in zip(sides, runs, strict=True)
    ]
