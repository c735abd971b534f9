"""Rows that the library looks up against those that PyTorch's operators unpack: the same floats to the last bit."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from fewbits.layers import QuantizedEmbedding
from fewbits.runtime import cpu
from fewbits.scheme import Scheme

pytestmark = pytest.mark.skipif(not cpu.available(), reason=str(cpu.why_not()))

FORMATS = (
    *(f"uint{bits}g24" for bits in range(1, 9)),
    *("uint3", "uint4t", "uint4g24z", "uint3g8z", "uint4g8/q8", "uint5g3/q8", "uint4g24/bf16", "uint2g24/f32"),
    *("int8", "int4g24", "int3g6/bf16", "nf4g24", "nf3g8/q8", "nf2", "fp4g24/f32", "fp8"),
)


def embedding(scheme: str, rows: int = 23, cols: int = 72) -> QuantizedEmbedding:
    torch.manual_seed(0)
    made = QuantizedEmbedding.from_float(nn.Embedding(rows, cols), Scheme.parse(scheme))
    assert isinstance(made, QuantizedEmbedding)
    return made


@pytest.mark.parametrize("scheme", FORMATS)
def test_every_format(scheme: str) -> None:
    layer = embedding(scheme)
    ids = torch.tensor([22, 0, 7, 7, 1])
    got = cpu.rows(layer, ids)
    assert got is not None
    assert torch.equal(got, layer.quantized.dequantize_rows(ids))


@pytest.mark.parametrize("cols", [1, 3, 7, 9, 31])
@pytest.mark.parametrize("scheme", ["uint3", "uint5", "int4", "nf4", "uint7", "int8"])
def test_rows_that_begin_within_a_byte(scheme: str, cols: int) -> None:
    layer = embedding(scheme, rows=5, cols=cols)
    ids = torch.arange(5)
    assert torch.equal(cpu.rows(layer, ids), layer.quantized.dequantize_rows(ids))  # type: ignore[arg-type]


def test_groups_of_outputs() -> None:
    layer = embedding("uint4g8o", rows=24)
    ids = torch.tensor([0, 7, 8, 23])
    assert torch.equal(cpu.rows(layer, ids), layer.quantized.dequantize_rows(ids))  # type: ignore[arg-type]


def test_many_rows_on_some_threads() -> None:
    layer, before = embedding("uint4g24"), torch.get_num_threads()
    ids = torch.randint(23, (3000,))
    want = layer.quantized.dequantize_rows(ids)
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            assert torch.equal(cpu.rows(layer, ids), want)  # type: ignore[arg-type]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("ids", [[-1], [0, 23]])
def test_a_row_that_is_not_there(ids: list[int]) -> None:
    with pytest.raises(IndexError):
        embedding("uint4g24")(torch.tensor(ids))


def test_what_is_changed_or_replaced_is_seen() -> None:
    layer, other = embedding("uint4g24"), embedding("uint4g24")
    ids = torch.arange(23)
    layer(ids)
    layer.get_buffer("scale").add_(1)
    assert torch.equal(layer(ids), layer.quantized.dequantize_rows(ids))
    copied = copy.deepcopy(layer)
    other.get_buffer("codes").bitwise_not_()
    layer.fill(other.quantized)
    assert torch.equal(layer(ids), other.quantized.dequantize_rows(ids))
    assert not torch.equal(copied(ids), layer(ids))


def test_it_is_left_to_the_operators_where_it_cannot_or_may_not() -> None:
    layer, ids = embedding("uint4g24"), torch.arange(3)
    want = layer(ids)
    with cpu.enabled(False):
        assert torch.equal(layer(ids), want)
    assert cpu.rows(layer.to("meta"), ids) is None  # type: ignore[arg-type]


GRAPHS = """
import torch, fewbits
model = torch.nn.Sequential(torch.nn.Embedding(23, 72))
fewbits.quantize(model, {"0": "uint4g24/q8"})
ids = torch.arange(3)
want = model(ids)
assert torch.equal(torch.compile(model, backend="aot_eager", fullgraph=True)(ids), want), "torch.compile"
program = torch.export.export(model, (ids,))
assert torch.equal(program.module()(ids), want), "torch.export"
assert "fewbits.cpu_rows" in str(program.graph), program.graph
"""


def test_graphs_contain_it_as_one_operator() -> None:
    """In a process of its own: here every call is checked by beartype, which torch.compile cannot trace."""
    done = subprocess.run([sys.executable, "-c", GRAPHS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
