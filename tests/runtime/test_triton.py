"""The Triton kernels in Triton's interpreter, on the CPU: in a process of their own, for the interpreter is chosen at import."""

import importlib.util
import os
import subprocess
import sys

import pytest

CHECK = """
import torch
from fewbits.runtime.triton import gemm
from fewbits.runtime.weight import repack
from fewbits.scheme import Scheme
torch.manual_seed(0)
for scheme, shape in [("uint4g64", (40, 192)), ("int8", (33, 100)), ("nf4g64", (16, 64)), ("uint3g64", (16, 64)), ("uint2g64", (24, 64))]:
    quantized = Scheme.parse(scheme).quantize(torch.randn(shape))
    weight = repack(quantized)
    assert torch.equal(gemm.unpack(weight, torch.float32), quantized.dequantize()), scheme
    x, bias = torch.randn(5, shape[1]).half(), torch.randn(shape[0]).half()
    want = x.double() @ quantized.dequantize().double().T + bias.double()
    error = (gemm.product(weight, x, bias).double() - want).norm() / want.norm()
    assert error < 1e-3, (scheme, error)
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")
def test_products_and_unpacking_agree_with_the_reference() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHECK], env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
