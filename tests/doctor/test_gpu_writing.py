"""Writing on a GPU, timed: what does not need one."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from fewbits.cli import show_gpu
from fewbits.doctor import gpu_writing
from fewbits.doctor.bench import Decoding
from fewbits.doctor.gpu_limits import GpuLimits

LIMITS = GpuLimits(name="Some GPU", memory=2**36, processors=132, bandwidth=4e12, kernels={})


class Clock:
    """Time passes only where it is told to."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


def test_the_prompt_and_the_first_token_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()

    class Bursts:
        def tokens(self, ids: Tensor, mask: Tensor | None, count: int) -> Iterator[Tensor]:
            clock.now += 100.0  # the prompt
            yield ids[:, :1]
            for _ in range(0, count - 1, 16):
                clock.now += 0.25
                yield ids[:, :16]

    monkeypatch.setattr(gpu_writing, "time", clock)
    assert gpu_writing.speed(Bursts(), torch.zeros(1, 64, dtype=torch.long)) == pytest.approx(64.0)


def test_writing_stands_beside_the_bandwidth(capsys: pytest.CaptureFixture[str]) -> None:
    made = [Decoding(model="demo", plan=None, speed=s, bytes_per_token=1_000_000_000) for s in (1000.0, 3000.0)]
    show_gpu.writing(made, LIMITS)
    lines = capsys.readouterr().out.splitlines()
    assert any("Some GPU" in line and "prompt 64, new 256" in line for line in lines)
    last = next(line for line in lines if "3,000.0" in line)
    assert "3.00 x" in last
    assert "75.0" in last or "75 %" in last
