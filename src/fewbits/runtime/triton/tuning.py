"""Which blocks the Triton product uses: shipped for the GPUs that it was tuned on, else tried out once and kept on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from statistics import median

import torch

from fewbits import cache as cache_files

Run = Callable[["Blocks"], object]


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Tiles of 16 outputs that a program takes, its warps, and stages of Triton's pipeline."""

    tiles: int
    warps: int
    stages: int


DEFAULT = Blocks(tiles=4, warps=4, stages=3)
CANDIDATES = (
    DEFAULT,
    Blocks(tiles=1, warps=4, stages=3),
    Blocks(tiles=2, warps=4, stages=3),
    Blocks(tiles=4, warps=8, stages=3),
    Blocks(tiles=8, warps=4, stages=3),
    Blocks(tiles=8, warps=8, stages=3),
)


def key_of(kind: int, batch: int, rows: int, cols: int) -> str:
    """What a choice is kept under: products of one key have the same best blocks, as far as was seen."""
    return f"kind {kind}, {batch} rows, {'wide' if rows >= cols else 'deep'}"


def choose(key: str, device: torch.device, run: Run) -> Blocks:
    """The blocks for a product. Tries them out where neither the package nor the disk knows; `run` makes the product once.

    On the CPU (Triton's interpreter), and while a CUDA graph is recorded, nothing is tried.
    """
    if device.type != "cuda":
        return DEFAULT
    name = torch.cuda.get_device_name(device)
    known = _shipped(name).get(key) or _kept(name).get(key)
    if known is not None:
        return known
    if torch.cuda.is_current_stream_capturing():
        return DEFAULT
    best = min(CANDIDATES, key=lambda blocks: _seconds(run, blocks))
    _keep(name, key, best)
    return best


def _seconds(run: Run, blocks: Blocks) -> float:
    """Median of ten; infinite where a GPU has too few registers or too little shared memory for these blocks."""
    from triton.runtime.errors import OutOfResources

    times = []
    try:
        run(blocks)
    except OutOfResources:
        return float("inf")
    for _ in range(10):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run(blocks)
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return median(times)


@cache
def _shipped(gpu: str) -> dict[str, Blocks]:
    table = json.loads((files("fewbits.runtime.triton") / "tuned.json").read_text())
    return next((_parsed(choices) for name, choices in table.items() if gpu.startswith(name)), {})


@cache
def _kept(gpu: str) -> dict[str, Blocks]:
    known = cache_files.read(_path(gpu))
    return {} if known is None else _parsed(json.loads(known))


def _parsed(choices: dict[str, dict[str, int]]) -> dict[str, Blocks]:
    return {key: Blocks(**choice) for key, choice in choices.items()}


def _keep(gpu: str, key: str, blocks: Blocks) -> None:
    """Write aside, then rename; what others wrote meanwhile is kept."""
    _kept.cache_clear()
    choices = _kept(gpu)
    choices[key] = blocks
    cache_files.write(_path(gpu), json.dumps({k: asdict(b) for k, b in choices.items()}, indent=1).encode())


def _path(gpu: str) -> Path | None:
    return cache_files.folder(f"triton {gpu}.json".replace(" ", "-").replace("/", "-"))
