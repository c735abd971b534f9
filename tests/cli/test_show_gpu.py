"""What is printed of a GPU: the limit, the kernels, and products beside it."""

import pytest
import torch

from fewbits.cli import show_gpu
from fewbits.doctor.gpu_bench import PLAIN
from fewbits.doctor.gpu_limits import GpuLimits, measure_gpu
from fewbits.doctor.layers import LayerTime

LIMITS = GpuLimits(name="Some GPU", memory=2**36, processors=132, bandwidth=4e12, kernels={"1 to 8 rows": "streams"})


def time(format: str, seconds: float, nbytes: int) -> LayerTime:
    return LayerTime(rows=16384, cols=2048, format=format, batch=1, seconds=seconds, nbytes=nbytes, kernel=format != PLAIN)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_there_is_nothing_to_tell() -> None:
    assert measure_gpu() is None


def test_the_limit_comes_before_the_kernels(capsys: pytest.CaptureFixture[str]) -> None:
    show_gpu.limits(LIMITS)
    out = capsys.readouterr().out
    assert out.index("4.00 TB/s") < out.index("1 to 8 rows")
    assert "132 multiprocessors, 64 GiB" in out


def test_products_stand_beside_bf16_and_the_bandwidth(capsys: pytest.CaptureFixture[str]) -> None:
    show_gpu.products([time(PLAIN, 20e-6, 67_108_864), time("uint4g64", 8e-6, 16_000_000)], LIMITS)
    line = next(line for line in capsys.readouterr().out.splitlines() if "uint4g64" in line)
    assert "8.00" in line
    assert "2.50 x" in line
    assert "50.0" in line or "50 %" in line
