"""Quantizing takes little memory beside the model: at most three times its largest layer, whatever the scheme."""

import subprocess
import sys

import pytest

PEAK = """
import re, sys
from pathlib import Path

import torch
from torch import nn

import fewbits


def kib(name):
    return int(re.search(rf"{name}:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])


def model(width):
    return nn.Sequential(*(nn.Linear(width, width, bias=bool(i % 2)) for i in range(3)))


scheme, dtype = sys.argv[1], getattr(torch, sys.argv[2])
fewbits.quantize(model(256).to(dtype), scheme)  # once for what is imported and allocated on the way
large = model(4096).to(dtype)
Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
before = kib("VmRSS")
fewbits.quantize(large, scheme)
print((kib("VmHWM") - before) * 1024)
"""
SCHEMES = ["hqq:uint4g64", "mse:uint3g32z/q8", "rtn:uint8g8/f32", "hqq:int4t", "rtn:uint5g64o", "nf4g64", "fp8"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_peak_memory(dtype: str) -> None:
    largest = 4096 * 4096 * (4 if dtype == "float32" else 2)
    for scheme in SCHEMES:
        done = subprocess.run([sys.executable, "-c", PEAK, scheme, dtype], capture_output=True, text=True, check=True)
        assert int(done.stdout) <= 3 * largest, (scheme, int(done.stdout) / largest)
