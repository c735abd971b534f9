"""What the GPU benchmarks share: the copy bandwidth, and the time of a list of calls replayed as one CUDA graph."""

from collections.abc import Callable, Sequence
from statistics import median

import torch


def copy_bandwidth() -> float:
    """Bytes read and written each second by a large copy on the device."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    return 2 * source.nbytes / event_seconds(lambda: target.copy_(source), repeats=20)


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
