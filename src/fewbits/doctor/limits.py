"""The machine's limits: which instructions it has, and how fast it reads memory. A token of a language model needs every
weight once, so bytes over bandwidth is the least time that it can take.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil
import torch

from fewbits.machine import cpu_name, usable_threads
from fewbits.runtime import cpu
from fewbits.runtime.cpu import library
from fewbits.runtime.cpu.memory import room

FEATURES = ("avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8")  # as /proc/cpuinfo has them
_READ, _TURNS = 256 << 20, 8  # bytes of one reading: several times the largest cache
_USUAL_CACHE = 32 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """`bandwidth` and `bandwidth_1` in bytes a second, with `threads` threads and with one; `cache` and `memory` in bytes.

    `kernels` is the level of instructions of the CPU kernels, None where they do not run, for which `why_not` is the reason.
    """

    cpu: str
    cores: int
    threads: int
    features: tuple[str, ...]
    kernels: str | None
    why_not: str | None
    bandwidth: float
    bandwidth_1: float
    cache: int
    memory: int


def measure_limits() -> Limits:
    """Look at the machine, and read memory for about a second."""
    why = cpu.why_not() or (None if cpu.running() else "they are turned off (FEWBITS_KERNELS=0)")
    with _threads(1):
        alone = read_bandwidth()
    return Limits(
        cpu=cpu_name(),
        cores=psutil.cpu_count(logical=False) or usable_threads(),
        threads=torch.get_num_threads(),
        features=features(),
        kernels=None if why else cpu.level(),
        why_not=why,
        bandwidth=read_bandwidth(),
        bandwidth_1=alone,
        cache=cache_bytes(),
        memory=psutil.virtual_memory().total,
    )


def read_bandwidth() -> float:
    """Bytes a second of the threads in use, from memory that no cache holds: the best of several, others only ever slow it.

    By torch's sum, which reads in one stream, and where the kernels run also as they read, in four: whichever is faster.
    """
    memory = room(_READ).view(torch.float32).fill_(1)
    readings: list[Callable[[], object]] = [memory.sum]
    if cpu.available():
        read = library.load().fewbits_read
        readings.append(lambda: read(memory.data_ptr(), memory.nbytes, torch.get_num_threads()))
    best = float("inf")
    for _ in range(_TURNS):
        for reading in readings:
            start = time.perf_counter()
            reading()
            best = min(best, time.perf_counter() - start)
    return memory.nbytes / best


@cache
def cache_bytes() -> int:
    """Bytes of the largest cache of the first core."""
    sizes = []
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = file.read_text().strip()
        sizes.append(int(text.rstrip("KM")) << {"K": 10, "M": 20}.get(text[-1], 0))
    return max(sizes, default=_USUAL_CACHE)


def features() -> tuple[str, ...]:
    """Those of the CPU's instructions that kernels are written for."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return tuple(name for name in FEATURES if name in flags)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
