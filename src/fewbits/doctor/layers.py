"""What one linear layer takes on this machine, as it is and in each scheme, all in turn.

Every side goes through copies of its layer that together are larger than the cache, so that weights come from memory as they
do in a model that is larger than the cache.
"""

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import median
from typing import cast

import torch
from torch import Tensor, nn

from fewbits.doctor.limits import cache_bytes
from fewbits.errors import FewbitsError
from fewbits.formats import Format
from fewbits.layers import QuantizedLayer, QuantizedLinear
from fewbits.runtime import cpu
from fewbits.scheme import Scheme

FLOAT = "float32"
_LEAST, _MOST = 5, 200  # runs of each side
_SECONDS = 0.08  # for each side


@dataclass(frozen=True, kw_only=True)
class LayerTime:
    """Median seconds of one layer [rows, cols] on a batch of rows; `nbytes` are those of its weight; `kernel` whether one ran."""

    rows: int
    cols: int
    format: str
    batch: int
    seconds: float
    nbytes: int
    kernel: bool

    @property
    def rate(self) -> float:
        """Bytes of the weight a second."""
        return self.nbytes / self.seconds


def time_layer(rows: int, cols: int, formats: Sequence[str], batches: Sequence[int]) -> list[LayerTime]:
    """Times of a layer in float32 and in some formats, for each batch. Raises FewbitsError where a group does not divide it."""
    # Quantizing uses threads, which inference mode does not reach: its tensors are none that they may write.
    plain = nn.Linear(cols, rows, bias=False).requires_grad_(False)
    sides = {FLOAT: _copies(plain)} | {name: _copies(_quantized(plain, name)) for name in dict.fromkeys(formats)}
    with torch.inference_mode():
        return [found for batch in batches for found in _in_turn(sides, torch.randn(batch, cols), rows)]


def layer_bytes(layer: nn.Module) -> int:
    """Bytes of a layer's weight, with its scales."""
    return layer.quantized.nbytes if isinstance(layer, QuantizedLayer) else layer.get_parameter("weight").nbytes


def _quantized(plain: nn.Linear, name: str) -> QuantizedLinear:
    format = Format.parse(name)
    if format.granularity == "group" and plain.in_features % format.group:
        raise FewbitsError(f"{name}: a group of {format.group} does not divide {plain.in_features} inputs")
    return cast(QuantizedLinear, QuantizedLinear.from_float(plain, Scheme.parse(name)))


def _copies(layer: nn.Module) -> list[nn.Module]:
    count = max(2, -(-2 * cache_bytes() // layer_bytes(layer)))
    made = [layer, *(copy.deepcopy(layer) for _ in range(min(count, 512) - 1))]
    for each in made:
        if isinstance(each, QuantizedLinear) and cpu.running():
            cpu.packed(each)
    return made


def _in_turn(sides: dict[str, list[nn.Module]], x: Tensor, rows: int) -> Iterator[LayerTime]:
    """A few runs of each side, again and again: a slow moment of the machine meets all of them."""
    rounds = {name: cycle(layers) for name, layers in sides.items()}
    runs: dict[str, list[float]] = {name: [] for name in sides}
    end = time.perf_counter() + _SECONDS * len(sides)
    while len(runs[FLOAT]) < _LEAST or (time.perf_counter() < end and len(runs[FLOAT]) < _MOST):
        for name, layers in rounds.items():
            for turn in range(4):
                layer = next(layers)
                start = time.perf_counter()
                layer(x)
                taken = time.perf_counter() - start
                if turn:  # the first finds what another side left in the cache
                    runs[name].append(taken)
    for name, layers in sides.items():
        first = layers[0]
        yield LayerTime(
            rows=rows,
            cols=x.shape[1],
            format=name,
            batch=x.shape[0],
            seconds=median(runs[name]),
            nbytes=layer_bytes(first),
            kernel=isinstance(first, QuantizedLinear) and cpu.running() and cpu.packed(first) is not None,
        )
