"""The tables that the fused step is driven by, as far as they need no GPU."""

import ctypes
from importlib.resources import files

import pytest

from fewbits.runtime import nvrtc, step
from fewbits.runtime.step import SOURCES, StepEngine, _Args, _Phase
from fewbits.runtime.structure import UnknownStructure, recognise
from tests import tiny


def test_structures_have_the_kernels_sizes() -> None:
    assert ctypes.sizeof(_Phase) == 208  # of 16 bytes a multiple: the copy engine brings it
    assert _Phase.norm.offset == 48
    assert _Phase.seg.offset == 64
    assert _Phase.bias.offset == 184
    assert _Args.phases.offset == 17 * 8


def test_all_parts_of_the_kernel_are_packed() -> None:
    text = nvrtc._source((*(f"{name}.cuh" for name in SOURCES), "step.cu"))
    assert "decode_steps" in text
    assert {f.name for f in (files("fewbits.runtime") / "cuda").iterdir() if f.name.startswith("step")} == {
        "step.cu",
        *(f"{name}.cuh" for name in SOURCES if name.startswith("step")),
    }


def test_a_model_that_is_not_on_a_gpu_is_refused() -> None:
    if nvrtc.unavailable() is None:
        pytest.skip("this machine has a GPU")
    with pytest.raises(UnknownStructure, match="no CUDA device"):
        StepEngine(recognise(tiny.llama()), max_len=64)


def test_a_launch_has_fewer_phases_than_tags() -> None:
    assert step.MOST_PHASES < 1 << 16
