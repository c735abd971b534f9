"""A weight quantized as a whole by the compiled solvers, against the same by PyTorch's operators: to the bit."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from fewbits import solvers
from fewbits.errors import FewbitsError
from fewbits.methods import _cpu
from fewbits.runtime.cpu import library
from fewbits.scheme import Scheme
from fewbits.tensor import QuantizedTensor
from tests.methods.groups import HARD, randn
from tests.test_solvers import without_solvers

pytestmark = pytest.mark.skipif(not library.available(), reason=f"no compiled solvers here: {library.why_not()}")

KINDS = [*(f"{kind}{bits}" for kind in ("uint", "int") for bits in range(1, 9)), "nf2", "nf3", "nf4", "fp4", "fp8"]
GRAINS = ("", "t", "g1", "g7", "g8", "g16", "g72", "g7o", "g16o")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SHAPES = ((112, 504), (1, 1), (1, 5), (17, 3), (1, 504), (336, 1))  # all grains divide the first; of the rest, those that do


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def made(scheme: Scheme, weight: Tensor) -> QuantizedTensor | str:
    try:
        return scheme.quantize(weight)
    except FewbitsError as error:
        return str(error)


def assert_same(text: str, weight: Tensor) -> None:
    scheme = Scheme.parse(text)
    with without_solvers(), threads(1):
        expected = made(scheme, weight)
    found = made(scheme, weight)
    if isinstance(found, str) or isinstance(expected, str):
        assert found == expected, text
        return
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in found.tensors.items():
        assert torch.equal(tensor, expected.tensors[name]), (text, tuple(weight.shape), weight.dtype, name)


def schemes(kind: str, turn: int) -> Iterator[str]:
    """All granularities; the types of scales and, where there is one, integer zero points take turns."""
    for i, grain in enumerate(GRAINS):
        z = "z" if kind.startswith("uint") and (turn + i) % 2 else ""
        yield f"{kind}{grain}{z}{('', '/f32', '/bf16', '/q8')[(turn + i // 2) % 4]}"


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits_of_every_format(kind: str, turn: int) -> None:
    """In bf16 many weights lie half way between two codes, or are the smallest of their group twice."""
    for i, text in enumerate(schemes(kind, turn)):
        for shape in SHAPES:
            weight = (randn(*shape, seed=turn) * (0.02 if turn < 3 else 30) + (0.0, 0.0, 0.1, 0.0)[turn]).to(
                DTYPES[(turn + i) % 3]
            )
            with threads(1 + (turn + i) % 8):
                assert_same(text, weight)


@pytest.mark.parametrize("weight", HARD)
@pytest.mark.parametrize("kind", ["uint4", "uint3", "int4", "nf4", "int8"])
def test_the_same_bits_of_weights_that_are_hard(weight: str, kind: str) -> None:
    for text in schemes(kind, 1):
        if not text.startswith((f"{kind}g7", f"{kind}g72")):  # which do not divide these
            assert_same(text, HARD[weight])
            assert_same(text, HARD[weight] * 1e-36)  # some scales are 0 in f32, and their weights are not
            assert_same(text, -(HARD[weight] > 0).float() * 0.0)  # zeros of both signs


@pytest.mark.parametrize("text", ["uint4g16", "uint3g8/q8", "int5", "uint2g16o", "nf4g72", "uint4tz"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_weights_that_do_not_lie_row_by_row(text: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cpu, "CHUNK", 1000)  # several pieces
    weight = randn(208, 288).to(dtype)
    for view in (weight.t().contiguous().t(), weight[::2, :144], weight.view(208, 8, 36).transpose(1, 2)):
        assert not view.is_contiguous()
        assert_same(text, view)


@pytest.mark.parametrize("text", ["rtn:uint4g64", "hqq:uint4g64", "hqq:int3g8", "mse:nf4", "hqq:uint3g8o/q8", "mse:uint2g64z"])
def test_the_number_of_threads_and_of_groups_changes_nothing(text: str) -> None:
    """Half of the weight gives half of the results, so no group sees those beside it."""
    weight, scheme = randn(520, 320), Scheme.parse(text)
    with threads(1):
        alone = scheme.quantize(weight)
    for count in (2, 3, 8):
        with threads(count):
            together = scheme.quantize(weight)
        assert all(torch.equal(t, together.tensors[name]) for name, t in alone.tensors.items()), count
    if scheme.format.meta != "q8":
        assert torch.equal(scheme.quantize(weight[:104]).codes(), alone.codes()[:104])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("at", [(0, 0), (3, 40), (7, 71)])
@pytest.mark.parametrize("text", ["rtn:uint4g8", "hqq:uint4", "rtn:int4g4o", "nf4g72", "uint4/q8", "uint8t"])
def test_what_is_not_finite_is_refused(text: str, at: tuple[int, int], value: float) -> None:
    for dtype in DTYPES:
        weight = randn(8, 72).to(dtype)
        weight[at] = value
        with pytest.raises(FewbitsError, match="1 of its 576 weights are NaN or infinite"):
            Scheme.parse(text).quantize(weight)


def test_it_is_the_compiled_ones_that_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's way would pass every test of this file."""
    called: list[str] = []
    monkeypatch.setattr("fewbits.methods.base.encode_matrix", lambda *_: called.append("PyTorch"))
    for text in ("rtn:uint4g8", "hqq:uint4", "mse:nf4g8/q8", "int8t", "uint4g8o"):
        Scheme.parse(text).quantize(randn(8, 16))
    assert called == []
    assert solvers.available(torch.device("cpu"))
