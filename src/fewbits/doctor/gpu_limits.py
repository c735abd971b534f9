"""A GPU's limits: how fast it copies memory, and which kernels run for how many rows of inputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch

_COPIED = 1 << 30  # bytes: many times the last cache
_TURNS = 20


@dataclass(frozen=True, kw_only=True)
class GpuLimits:
    """`bandwidth` in bytes read and written each second, `memory` in bytes. `kernels`: what computes, by rows of inputs."""

    name: str
    memory: int
    processors: int
    bandwidth: float
    kernels: dict[str, str]


def measure_gpu() -> GpuLimits | None:
    """Look at the first GPU, and copy its memory for some milliseconds; None where there is none."""
    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    return GpuLimits(
        name=properties.name,
        memory=properties.total_memory,
        processors=properties.multi_processor_count,
        bandwidth=copy_bandwidth(),
        kernels=kernels_here(),
    )


def kernels_here() -> dict[str, str]:
    """Which kernels take how many rows of inputs on the first GPU."""
    from fewbits.runtime import gemv, gpu, nvrtc, vector

    why = nvrtc.unavailable()
    if why is not None:
        few = {f"1 to {gpu.TRITON_ROWS} rows": f"Triton, since CUDA C++ is not to be had: {why}"} if gpu.has_triton() else {}
        return few | {"more": "unpacked, then PyTorch's product"}
    few = {f"1 to {vector.MAX_BATCH} rows": "CUDA C++ that streams the packed weight"}
    if torch.cuda.get_device_capability(0) == (9, 0):
        unpacked = "from 513 on, where that leaves multiprocessors idle, unpacked, then PyTorch's product"
        return few | {"more": f"CUDA C++ on the tensor cores, with wgmma; {unpacked}"}
    return few | {
        f"to {gemv.MAX_BATCH} rows": "CUDA C++ on the tensor cores",
        "more": "unpacked, then PyTorch's product",
    }


def copy_bandwidth() -> float:
    """Bytes read and written each second by a large copy on the device."""
    source = torch.empty(_COPIED, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    return 2 * source.nbytes / event_seconds(lambda: target.copy_(source), repeats=_TURNS)


def event_seconds(call: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call, by events."""
    for _ in range(3):
        call()
    times = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return median(times)


def graph_seconds(calls: Sequence[Callable[[], object]], repeats: int = 7) -> float:
    """Median seconds of one of these calls, all in one graph: each has its own weights, so that they come from far memory."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for call in calls[:2]:
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    return event_seconds(graph.replay, repeats) / len(calls)
