"""The kernels in graphs, behind the switch, and from several threads and processes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from fewbits.errors import FewbitsError
from fewbits.layers import QuantizedLinear
from fewbits.runtime import cpu, dispatch
from fewbits.runtime.cpu import library
from fewbits.scheme import Scheme

needs_kernels = pytest.mark.skipif(not cpu.available(), reason=str(cpu.why_not()))


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.no_grad():
        yield


@pytest.fixture
def model() -> nn.Module:
    layers = QuantizedLinear.from_float(nn.Linear(128, 64), Scheme.parse("uint4g64")), nn.ReLU(), nn.Linear(64, 64)
    return nn.Sequential(*layers, QuantizedLinear.from_float(nn.Linear(64, 20, bias=False), Scheme.parse("nf4g64/q8")))


@needs_kernels
def test_they_are_on_until_they_are_turned_off(model: nn.Module) -> None:
    x = torch.randn(3, 128)
    before, answer = dispatch.KERNELS["cpu"], model(x)
    assert cpu.running()
    with cpu.enabled(False):
        reference = model(x)
        assert not cpu.running()
    with cpu.enabled():
        assert dispatch.KERNELS["cpu"].count(dispatch.CPU) == 1
        assert torch.equal(model(x), answer) and not torch.equal(answer, reference)
        torch.testing.assert_close(model(x), reference, atol=0.02, rtol=0.02)
        with cpu.exact_activations():
            torch.testing.assert_close(model(x), reference, atol=1e-5, rtol=1e-5)
    assert dispatch.KERNELS["cpu"] == before


SWITCH = "from fewbits.runtime import cpu; print(cpu.running())"


@needs_kernels
def test_the_environment_turns_them_off() -> None:
    for value, told in (("0", "False\n"), ("1", "True\n")):
        environment = {**os.environ, "FEWBITS_KERNELS": value}
        done = subprocess.run([sys.executable, "-c", SWITCH], capture_output=True, text=True, check=True, env=environment)
        assert done.stdout == told


@needs_kernels
def test_operator_is_well_formed(model: nn.Module) -> None:
    pack = cpu.packed(model[0])
    assert pack is not None
    for x in (torch.randn(3, 128), torch.randn(2, 3, 128)):
        sizes = pack.rows, pack.cols
        arguments = (x, pack.codes, pack.scale, pack.zero, model[0].bias.detach(), str(pack.format), *sizes, False)
        torch.library.opcheck(torch.ops.fewbits.cpu_linear.default, arguments)


NONE = """
import torch
import fewbits.runtime.cpu
from fewbits.errors import FewbitsError

some = torch.zeros(3)
for tensors in ((None, some, some), (some, None, some), (some, some, None)):
    try:
        torch.ops.fewbits.cpu_linear(*tensors, None, None, "int8", 3, 3, False)
    except FewbitsError as error:
        print(error)
try:
    torch.ops.fewbits.cpu_rows([some], None, "int8", [3, 3])
except FewbitsError as error:
    print(error)
"""


def test_a_tensor_that_is_none() -> None:
    """In a process of its own: here beartype refuses it before the operator does."""
    done = subprocess.run([sys.executable, "-c", NONE], capture_output=True, text=True, check=False)
    told = [f"torch.ops.fewbits: {name} is None: a tensor is needed" for name in ("x", "codes", "scale", "ids")]
    assert done.stdout.splitlines() == told, done.stderr[-3000:]


GRAPHS = """
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from fewbits.layers import QuantizedLinear
from fewbits.runtime import cpu
from fewbits.scheme import Scheme

torch.set_grad_enabled(False)
layers = [QuantizedLinear.from_float(nn.Linear(64, 64), Scheme.parse(scheme)) for scheme in ("uint4g64", "nf4g64/q8")]
model, x = nn.Sequential(*layers), torch.randn(3, 64)
cpu.prepare(model)
with cpu.enabled():
    y = model(x)
    assert torch.equal(torch.compile(model, backend="aot_eager", fullgraph=True)(x), y), "torch.compile"
    exported, traced = torch.export.export(model, (x,)), make_fx(model)(x)
    assert torch.equal(exported.module()(x), y) and torch.equal(traced(x), y), "torch.export"
for graph in (exported.graph, traced.graph):
    assert sum("fewbits.cpu_linear" in str(node.target) for node in graph.nodes) == 2, graph
print("fine")
"""


@needs_kernels
def test_graphs_call_the_operator() -> None:
    """In a process of its own: here every call is checked by beartype, which torch.compile cannot trace."""
    done = subprocess.run([sys.executable, "-c", GRAPHS], capture_output=True, text=True, check=False)
    assert done.stdout == "fine\n", done.stderr[-3000:]


@needs_kernels
def test_many_callers_at_once(model: nn.Module) -> None:
    inputs = [torch.randn(1 + i % 20, 128) for i in range(200)]
    with cpu.enabled():
        alone = [model(x) for x in inputs]

        def run(x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():  # each thread has a switch of its own
                return model(x)

        with ThreadPoolExecutor(6) as pool:
            together = list(pool.map(run, inputs))
    assert all(map(torch.equal, alone, together))


@needs_kernels
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_own_pool_serves_without_openmp_and_after_a_fork() -> None:
    layer = QuantizedLinear.from_float(nn.Linear(512, 1000), Scheme.parse("uint4g64"))
    x, before = torch.randn(5, 512), torch.get_num_threads()
    y = cpu.linear(layer, x)
    assert y is not None
    library.load().fewbits_use_gomp(None)
    torch.set_num_threads(4)
    try:
        for _ in range(50):
            assert torch.equal(y, cpu.linear(layer, x))  # type: ignore[arg-type]
        child = os.fork()
        if child == 0:
            same = torch.equal(y, cpu.linear(layer, x))  # type: ignore[arg-type]
            os._exit(0 if same else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        torch.set_num_threads(before)
        library.load().fewbits_use_gomp(library._gomp())


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str], model: nn.Module) -> None:
    x = torch.randn(3, 128)
    with cpu.enabled(False):
        reference = model(x)
    monkeypatch.setattr(library, "LIBRARY", library.Path(tmp_path) / "none.so")
    library.why_not.cache_clear()
    try:
        assert not cpu.available() and "without its CPU kernels" in str(cpu.why_not())
        assert not cpu.running() and torch.equal(model(x), reference)
        with pytest.raises(FewbitsError, match="install g"), cpu.enabled():
            pass
        (library.Path(tmp_path) / "none.so").write_text("not a library")
        library.why_not.cache_clear()
        library.load.cache_clear()
        assert "cannot be loaded" in str(cpu.why_not())
    finally:
        monkeypatch.undo()
        library.load.cache_clear()
        library.why_not.cache_clear()
