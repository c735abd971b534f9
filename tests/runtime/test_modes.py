"""Quantized layers under what PyTorch does to modules: tracing, torch.func, autocast, other defaults, odd inputs."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import fewbits
from fewbits.errors import FewbitsError
from fewbits.layers import QuantizedEmbedding, QuantizedLinear
from fewbits.runtime import cpu
from fewbits.scheme import Scheme

SCHEMES = ["uint4g32", "nf4", "fp8", "uint4g32/q8", "int8a8"]


def linear(scheme: str = "uint4g32", *, gradients: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 64))
    fewbits.quantize(model, scheme)
    return model.requires_grad_(gradients)


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.linear, self.conv = nn.Embedding(16, 64), nn.Linear(64, 64), nn.Conv2d(1, 2, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.conv(self.linear(self.embedding(ids))[:, None])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("scheme", ["uint4g32", "nf4", "fp8", "uint4g16o", "uint4g32/q8"])
@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("run_before", [True, False])
def test_jit_trace(scheme: str, kernels: bool, run_before: bool, tmp_path: Path) -> None:
    if kernels and not cpu.available():
        pytest.skip(str(cpu.why_not()))
    model = fewbits.quantize(Mixed().requires_grad_(False), {"embedding": scheme, "linear": scheme, "conv": "int8"})
    ids, others = torch.randint(16, (2, 5)), torch.randint(16, (2, 5))
    with cpu.enabled(kernels):
        if run_before:
            model(ids)
        traced = torch.jit.trace(model, ids)
        noise = [torch.randn(10, 1000) for _ in range(20)]  # where memory of the traced run was, if it is read again
        want = model(others)
        torch.testing.assert_close(traced(others), want)
        torch.jit.save(traced, tmp_path / "traced.pt")
        torch.testing.assert_close(torch.jit.load(tmp_path / "traced.pt")(others), want)
    del noise


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_torch_func(scheme: str) -> None:
    model, x = linear(scheme), torch.randn(3, 64)
    with cpu.enabled(False):
        want = model(x)
    model(x)
    torch.testing.assert_close(torch.vmap(model)(x), want, rtol=0.02, atol=0.02)
    assert torch.vmap(model, in_dims=1)(x[:, None].expand(3, 2, 64)).shape == (2, 3, 64)
    torch.testing.assert_close(torch.func.functionalize(model)(x), want, rtol=0.02, atol=0.02)
    assert torch.func.grad(lambda v: model(v).sum())(x).abs().sum() > 0
    assert torch.func.jvp(model, (x,), (torch.ones_like(x),))[1].abs().sum() > 0
    assert torch.func.jacrev(model)(x[0]).shape == (64, 64)


def test_vmap_of_an_embedding() -> None:
    layer = QuantizedEmbedding.from_float(nn.Embedding(10, 64), Scheme.parse("uint4g32"))
    ids = torch.tensor([[1, 2], [3, 9]])
    torch.testing.assert_close(torch.vmap(layer)(ids), layer(ids))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kernels", [True, False])
def test_autocast_gives_the_dtype_that_a_float_layer_gives(dtype: torch.dtype, kernels: bool) -> None:
    if kernels and not cpu.available():
        pytest.skip(str(cpu.why_not()))
    model, x = linear(), torch.randn(3, 64)
    with cpu.enabled(kernels):
        want = model(x)
        with torch.autocast("cpu", dtype):
            got = model(x)
    assert got.dtype == dtype
    torch.testing.assert_close(got.float(), want, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("scheme", ["uint4g32", "int8", "nf4", "fp8", "uint3g16z", "uint4g32a8", "int8a8"])
@pytest.mark.parametrize("rows", [(5,), (2, 3), ()])
def test_gradients_are_those_of_the_dequantized_layer(scheme: str, rows: tuple[int, ...]) -> None:
    """Rounding activations to 8 bits is straight-through."""
    layer = linear(scheme, gradients=True)[0]
    x, by = torch.randn(*rows, 64, requires_grad=True), torch.randn(*rows, 32)
    out = layer(x)
    (out * by).sum().backward()
    torch.testing.assert_close(x.grad, by @ layer.dequantize())
    torch.testing.assert_close(layer.bias.grad, by.reshape(-1, 32).sum(0))
    with torch.no_grad():
        torch.testing.assert_close(layer(x), out, rtol=0.02, atol=0.02)


def test_gradient_of_a_bias_alone() -> None:
    layer = linear(gradients=True)[0]
    layer(torch.randn(3, 64)).sum().backward()
    assert torch.equal(layer.bias.grad, torch.full((32,), 3.0))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_shapes_without_numbers(scheme: str) -> None:
    model = linear(scheme)
    for shape in ((0, 64), (2, 0, 64)):
        if "a8" not in scheme:
            assert model(torch.empty(shape)).shape == shape


def test_other_kinds_of_tensors() -> None:
    model, x = linear(), torch.randn(3, 64)
    want = model(x)
    torch.testing.assert_close(model(nn.Parameter(x, requires_grad=False)), want, rtol=0.02, atol=0.02)
    assert copy.deepcopy(model).to("meta")(x.to("meta")).device.type == "meta"
    negative = torch.complex(x, x).conj().imag
    assert negative.is_neg()
    torch.testing.assert_close(model(negative), model(-x))
    torch.testing.assert_close(model(x[:1].expand(5, 64)), want[:1].expand(5, 64))
    with torch.inference_mode():
        assert torch.equal(model(x), want)


def test_default_dtype_and_device_change_nothing() -> None:
    layer = nn.Sequential(nn.Embedding(10, 64), nn.Linear(64, 64))
    ids = torch.tensor([1, 7])
    want = fewbits.quantize(copy.deepcopy(layer), {"0": "nf4g32", "1": "uint4g32"})
    answer = want(ids)
    torch.set_default_dtype(torch.float64)
    try:
        got = fewbits.quantize(layer, {"0": "nf4g32", "1": "uint4g32"})
        with torch.device("meta"):
            found = got(ids)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, answer)
    assert all(torch.equal(a, b) for a, b in zip(got.state_dict().values(), want.state_dict().values(), strict=True))


def test_first_use_in_inference_mode_is_seen_through() -> None:
    model, x = linear(), torch.randn(3, 64)
    with torch.inference_mode():
        model(x)
    other = linear("nf4g32")
    assert other(x).isfinite().all()
    before = model(x)
    model[0].get_buffer("codes").data = model[0].get_buffer("codes").bitwise_not()
    assert not torch.equal(model(x), before)


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_parametrized_layers_are_refused_or_skipped(name: str) -> None:
    model = nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 8))
    nn.utils.parametrize.register_parametrization(model[0], name, nn.Identity())
    with pytest.raises(FewbitsError, match=r"layer 0: .*computed at each call.*--skip"):
        fewbits.quantize(model, "uint4g32")
    fewbits.quantize(model, "uint4g32", skip=("0",))
    assert isinstance(model[1], QuantizedLinear)


EXPORTED = """
import torch, fewbits
from torch import nn
torch.set_grad_enabled(False)
model, x = fewbits.quantize(nn.Sequential(nn.Linear(64, 64), nn.ReLU()), "uint4g32"), torch.randn(2, 64)
graph, alone = torch.fx.symbolic_trace(model), torch.fx.symbolic_trace(model[0])
assert [n.op for n in graph.graph.nodes].count("call_module") == 2 and torch.equal(graph(x), model(x))
torch.testing.assert_close(alone(x), model[0](x), rtol=0.02, atol=0.02)
for bad in (torch.tensor(1.0), torch.randn(3, 65), torch.randn(0, 0)):
    try:
        model(bad)
    except RuntimeError:
        continue
    raise SystemExit(f"taken: {bad.shape}")
model, x = fewbits.quantize(nn.Sequential(nn.Linear(64, 64)), "uint4g32"), torch.randn(2, 64)
y = model(x)
program = torch.export.export(model, (x,))
try:  # before 2.13 torch saved no tensors of two types that share memory, as packed codes and their scales do
    torch.export.save(program, "PATH")
    assert torch.equal(torch.export.load("PATH").module()(x), y)
except RuntimeError as error:
    assert "as different types" in str(error) and torch.__version__ < "2.13", error
node = next(n for n in program.graph.nodes if "cpu_linear" in str(n.target))
node.args = (*node.args[:6], 1 << 20, *node.args[7:])  # rows that the weight does not have
program.graph_module.recompile()
try:
    program.module()(x)
except Exception as error:
    assert "torch.ops.fewbits" in str(error), error
    print("refused")
"""


@pytest.mark.skipif(not cpu.available(), reason=str(cpu.why_not()))
def test_graphs_and_bad_inputs(tmp_path: Path) -> None:
    """In a process of its own: here every call is checked by beartype, which no tracer follows."""
    program = EXPORTED.replace("PATH", str(tmp_path / "program.pt2"))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "refused\n", done.stderr[-3000:]


def test_layers_are_called_by_keyword_as_those_they_replace() -> None:
    x, image, ids = torch.randn(3, 64), torch.randn(1, 32, 8, 8), torch.arange(5)
    for layer, given in ((nn.Linear(64, 8), x), (nn.Conv2d(32, 8, 3), image), (nn.Embedding(9, 64), ids)):
        model = fewbits.quantize(nn.ModuleDict({"layer": layer}), {"layer": "uint4g32"})
        assert torch.equal(model["layer"](input=given), model["layer"](given))
