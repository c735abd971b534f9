"""Peak memory of a piece of work.

CPU:  how far the process's resident memory rose above where it stood, from the kernel's own high-water mark where it may be
      reset (Linux), else from samples. Work that loads a model counts the model; a model that is there already does not count.
CUDA: the most that torch's allocator had handed out, tensors that were there before included.
"""

import ctypes
import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil
import torch

from fewbits.errors import FewbitsError
from fewbits.measure.result import Measure

T = TypeVar("T")
INTERVAL = 0.002  # s between samples: one costs about 20 us
_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def peak_memory(work: Callable[[], T], device: torch.device | str = "cpu") -> tuple[T, Measure]:
    """Do the work and tell the most bytes that it took. Parts: `before`, `peak` and `growth`, in bytes.

    The value is `growth` on a CPU and `peak` on a GPU; the protocol says which. Raises FewbitsError for other devices.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return _cuda(work, device)
    if device.type != "cpu":
        raise FewbitsError(f"peak memory can be told of cpu and cuda, not of {device.type}")
    _settle()
    before = psutil.Process().memory_info().rss
    if _reset_mark():
        result, peak = work(), _mark()
        how = "growth of resident memory, by the kernel's high-water mark"
    else:
        result, peak = _sampled(work)
        how = f"growth of resident memory, sampled every {INTERVAL * 1000:.0f} ms"
    growth = max(0, peak - before)
    return result, _measure(growth, before, peak, how)


def _cuda(work: Callable[[], T], device: torch.device) -> tuple[T, Measure]:
    gc.collect()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    result = work()
    torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device)
    return result, _measure(peak, before, peak, "most that was allocated on the GPU (torch.cuda.max_memory_allocated)")


def _measure(value: int, before: int, peak: int, protocol: str) -> Measure:
    parts = {"before": before, "peak": peak, "growth": max(0, peak - before)}
    return Measure(name="peak_memory", value=value, unit="B", n=1, protocol=protocol, parts=parts)


def _settle() -> None:
    """Give freed memory back to the system first; kept, it would be used again unseen, and the growth come out too small."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if Path("/proc").exists() else None  # glibc has it
    if trim is not None:
        trim(0)


def _reset_mark() -> bool:
    """Set the kernel's high-water mark back to what is resident now (proc(5), clear_refs); False where that cannot be done."""
    try:
        _CLEAR.write_text("5")
        return _mark() <= psutil.Process().memory_info().rss + (1 << 22)  # the kernel counts pages in lots, by thread
    except (OSError, LookupError):
        return False


def _mark() -> int:
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


def _sampled(work: Callable[[], T]) -> tuple[T, int]:
    """Look at the resident memory again and again, from another thread."""
    process, done = psutil.Process(), threading.Event()
    peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(INTERVAL):
            peak = max(peak, process.memory_info().rss)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        result = work()
        peak = max(peak, process.memory_info().rss)
    finally:
        done.set()
        thread.join()
    return result, peak
