import threading

import psutil
import pytest
import torch

from fewbits.errors import FewbitsError
from fewbits.measure import memory, peak_memory

MIB = 2**20


def takes_64_mib() -> float:
    """Its peak is 64 MiB, of which nothing is left at the end."""
    return torch.ones(16 * MIB).sum().item()


@pytest.mark.parametrize("kernel", [True, False])
def test_a_peak_that_is_gone_is_seen(kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    takes_64_mib()  # libraries and threads are there now
    if kernel and not memory._reset_mark():
        pytest.skip("this system does not let a process reset its high-water mark")
    if not kernel:
        monkeypatch.setattr(memory, "_reset_mark", lambda: False)
    result, got = peak_memory(takes_64_mib)
    assert result == 16 * MIB
    assert 60 * MIB < got.value < 80 * MIB
    assert got.value == got.parts["growth"] == got.parts["peak"] - got.parts["before"]
    assert (got.name, got.unit) == ("peak_memory", "B")
    assert ("high-water mark" if kernel else "sampled every 2 ms") in str(got.protocol)


def test_an_earlier_peak_does_not_count() -> None:
    takes_64_mib()
    _, got = peak_memory(lambda: None)
    assert got.value < 16 * MIB


def test_what_is_kept_counts() -> None:
    kept, got = peak_memory(lambda: torch.ones(16 * MIB))
    assert got.value > 60 * MIB
    assert psutil.Process().memory_info().rss > got.parts["before"] + 60 * MIB
    assert len(kept) == 16 * MIB


def test_work_that_fails_stops_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_reset_mark", lambda: False)
    threads = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        peak_memory(lambda: 1 / 0)
    assert threading.active_count() == threads


def test_other_devices_are_refused() -> None:
    with pytest.raises(FewbitsError, match="not of meta"):
        peak_memory(takes_64_mib, "meta")


@pytest.mark.gpu
def test_the_peak_of_a_gpu() -> None:
    held = torch.ones(4 * MIB, device="cuda")
    _, got = peak_memory(lambda: torch.ones(16 * MIB, device="cuda").sum().item(), "cuda")
    assert got.parts["growth"] >= 64 * MIB
    assert got.value == got.parts["peak"] >= 80 * MIB
    assert got.parts["before"] >= held.nbytes
    assert "max_memory_allocated" in str(got.protocol)
