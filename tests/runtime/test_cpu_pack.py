"""The kernels' layout: nothing is lost in it, and it is made anew whenever the weight is another."""

import copy
import io
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewbits.codebooks import codebook
from fewbits.layers import QuantizedLinear
from fewbits.packing import pack as pack_codes
from fewbits.runtime import cpu
from fewbits.runtime.cpu import memory
from fewbits.runtime.cpu.pack import as_bytes, pack, restore
from fewbits.scheme import Scheme
from fewbits.tensor import QuantizedTensor

pytestmark = pytest.mark.skipif(not cpu.available(), reason=str(cpu.why_not()))


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def make(scheme: str = "uint4g64", rows: int = 48, cols: int = 128) -> QuantizedLinear:
    return QuantizedLinear.from_float(torch.nn.Linear(cols, rows), Scheme.parse(scheme))


def answer(layer: QuantizedLinear, x: torch.Tensor) -> torch.Tensor:
    y = cpu.linear(layer, x)
    assert y is not None
    return y


@settings(max_examples=60)
@given(st.integers(1, 70), st.integers(1, 130), st.integers(1, 8))
def test_packing_is_undone_exactly(rows: int, cols: int, bits: int) -> None:
    quantized = Scheme.parse(f"int{bits}").quantize(torch.randn(rows, cols))
    codes = pack_codes(torch.randint(0, 1 << bits, (rows * cols,), dtype=torch.uint8), bits)
    packed = pack(QuantizedTensor(format=quantized.format, shape=(rows, cols), tensors={**quantized.tensors, "codes": codes}))
    assert packed is not None and torch.equal(restore(packed), codes)


@pytest.mark.parametrize("scheme", ["uint4g64", "uint3g64", "int8", "nf4g64/bf16", "uint2g32/f32"])
def test_it_takes_the_bytes_that_are_stored(scheme: str) -> None:
    layer = make(scheme)
    packed = cpu.packed(layer)
    assert packed is not None
    assert packed.nbytes == layer.quantized.nbytes + energy_bytes(packed.weight.block)


def energy_bytes(block: int = 64) -> int:
    """Beside that: a number for each of 128 inputs and each of their blocks."""
    return 4 * (128 + 128 // block)


def test_it_is_made_once() -> None:
    layer = make()
    assert cpu.packed(layer) is cpu.packed(layer)
    model = torch.nn.Sequential(layer, make("fp8"))
    assert cpu.prepare(model) == cpu.packed_bytes(model) == layer.quantized.nbytes + energy_bytes()


def test_a_tied_layer_uses_the_other_ones() -> None:
    layer, tied = make(), make()
    tied.tie(layer)
    assert cpu.packed(tied) is cpu.packed(layer)
    assert cpu.packed_bytes(torch.nn.ModuleList([layer, tied])) == layer.quantized.nbytes + energy_bytes()


def test_a_changed_weight_is_packed_anew() -> None:
    layer, other, x = make(), make(), torch.randn(3, 128)
    before = answer(layer, x)
    layer.load_state_dict(other.state_dict())  # in place
    assert torch.equal(answer(layer, x), answer(other, x)) and not torch.equal(answer(layer, x), before)
    third = make()
    layer.load_state_dict(third.state_dict(), assign=True)  # other tensors
    assert torch.equal(answer(layer, x), answer(third, x))


def test_a_changed_scale_is_packed_anew() -> None:
    layer, other, x = make(), make(), torch.randn(3, 128)
    answer(layer, x)
    layer.scale.copy_(other.scale)
    layer.zero.copy_(other.zero)
    fresh = copy.deepcopy(layer)
    assert torch.equal(answer(layer, x), answer(fresh, x))


def test_copies_and_pickles_pack_for_themselves() -> None:
    layer, other, x = make(), make(), torch.randn(3, 128)
    y = answer(layer, x)
    twin = copy.deepcopy(layer)
    assert cpu.packed_bytes(twin) == 0
    assert torch.equal(answer(twin, x), y)
    twin.load_state_dict(other.state_dict())
    assert torch.equal(answer(twin, x), answer(other, x)) and torch.equal(answer(layer, x), y)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert torch.equal(answer(loaded, x), y)


def test_what_is_stored_stays_as_it_is() -> None:
    layer = make()
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    answer(layer, torch.randn(3, 128))
    after = layer.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(after[name], before[name]) for name in before)


def test_casting_the_model_keeps_the_weight() -> None:
    layer = make()
    first = cpu.packed(layer)
    assert cpu.packed(layer.half()) is first
    assert cpu.packed(layer.to("cpu")) is first


def test_inference_mode() -> None:
    with torch.inference_mode():
        layer, x = make(), torch.randn(2, 128)
        assert torch.equal(answer(layer, x), answer(layer, x))


def test_memory_lies_in_blocks_one_behind_the_other() -> None:
    first, second = memory.room(100), memory.room(64)
    assert first.numel() == 100 and first.data_ptr() % 64 == second.data_ptr() % 64 == 0
    assert memory.room(memory.BLOCK + 1).numel() == memory.BLOCK + 1


@pytest.mark.parametrize(("kind", "bits", "most"), [("nf", 4, 0.0029), ("nf", 3, 0.0015), ("nf", 2, 0.0001), ("fp", 4, 0.0029)])
def test_a_codebook_in_bytes_is_this_far_off(kind: str, bits: int, most: float) -> None:
    values = codebook(kind, bits)
    step, codes = as_bytes(values)
    assert max(map(abs, codes)) <= 127 and codes[int(values.abs().argmin())] == 0
    assert (torch.tensor(codes) * step - values).abs().max() <= most
