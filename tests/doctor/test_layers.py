"""Timing of a layer: every side and batch once, with the bytes of what is stored."""

import pytest
import torch
from torch import nn

from fewbits.doctor.layers import FLOAT, LayerTime, layer_bytes, time_layer
from fewbits.errors import FewbitsError
from fewbits.layers import QuantizedLinear
from fewbits.runtime import cpu
from fewbits.scheme import Scheme


def test_every_side_on_every_batch() -> None:
    times = time_layer(48, 64, ["uint4g32", "fp8"], [1, 3])
    assert [(t.batch, t.format) for t in times] == [(b, f) for b in (1, 3) for f in (FLOAT, "uint4g32", "fp8")]
    assert all((t.rows, t.cols) == (48, 64) and t.seconds > 0 for t in times)
    plain, four, eight = times[:3]
    assert (plain.nbytes, four.nbytes) == (48 * 64 * 4, 48 * 64 // 2 + 48 * 2 * 4)
    assert (plain.kernel, four.kernel, eight.kernel) == (False, cpu.running(), False)


def test_quantizing_by_threads() -> None:
    """fp8 is rounded piece by piece in threads of their own, as everything is where there are no kernels."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert len(time_layer(2048, 1024, ["fp8"], [1])) == 2
    finally:
        torch.set_num_threads(threads)


def test_rate_is_bytes_a_second() -> None:
    assert LayerTime(rows=1, cols=1, format="x", batch=1, seconds=0.5, nbytes=8, kernel=True).rate == 16


def test_bytes_count_scales() -> None:
    layer = QuantizedLinear.from_float(nn.Linear(64, 8), Scheme.parse("int8"))
    assert layer_bytes(layer) == 8 * 64 + 8 * 2 and layer_bytes(nn.Linear(64, 8)) == 8 * 64 * 4  # biases are not read for it


def test_a_group_that_does_not_divide() -> None:
    with pytest.raises(FewbitsError, match=r"uint4g64.*96 inputs"):
        time_layer(32, 96, ["uint4g64"], [1])
