"""What is told of the machine."""

from pathlib import Path

import pytest
import torch

from fewbits.doctor import limits
from fewbits.runtime import cpu


def test_limits_are_those_of_this_machine() -> None:
    before = torch.get_num_threads()
    found = limits.measure_limits()
    assert torch.get_num_threads() == before == found.threads
    assert found.bandwidth > 1e8 and found.bandwidth_1 > 1e8 and found.cache >= 1 << 18
    assert (found.kernels is None) == (found.why_not is not None)
    assert found.kernels == (cpu.level() if cpu.running() else None)


@pytest.mark.skipif(not cpu.available(), reason=str(cpu.why_not()))
def test_kernels_that_are_turned_off_are_told() -> None:
    with cpu.enabled(False):
        found = limits.measure_limits()
    assert found.kernels is None and "turned off" in str(found.why_not)


def test_features_are_those_kernels_are_written_for() -> None:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    assert set(limits.features()) <= set(limits.FEATURES)
    assert all(name in text for name in limits.features())
