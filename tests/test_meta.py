"""How scales and zero points are stored: which tensors, how many bytes, how near, and what is refused."""

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewbits import meta
from fewbits.errors import FewbitsError
from fewbits.formats import META_BLOCK
from tests.strategies import METAS

BYTES = {"f32": lambda n: 4 * n, "f16": lambda n: 2 * n, "bf16": lambda n: 2 * n, "q8": lambda n: n + 8 * math.ceil(n / 256)}
STEP = {"f32": 0.0, "f16": 2.0**-11, "bf16": 2.0**-8}  # half a unit in the last place, relative


def some_values(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(seed)) * 3 + 0.01


@pytest.mark.parametrize("name", METAS)
@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 512, 1000])
def test_bytes_and_layout(name: meta.Meta, count: int) -> None:
    stored = meta.store("scale", some_values(count), name)
    assert sum(t.nbytes for t in stored.values()) == BYTES[name](count)
    assert {key: (tuple(t.shape), t.dtype) for key, t in stored.items()} == meta.spec("scale", count, name)
    assert all(key.startswith("scale") for key in stored)
    assert not any(t.is_floating_point() for t in stored.values())  # a cast of the model must pass them by


@pytest.mark.parametrize("name", STEP)
@given(count=st.integers(1, 600), seed=st.integers(0, 99))
def test_floats_are_rounded_once_to_their_type(name: meta.Meta, count: int, seed: int) -> None:
    values = some_values(count, seed)
    read = meta.read("scale", meta.store("scale", values, name), name)
    assert read.dtype == torch.float32
    assert torch.equal(read, values.to(meta.FLOATS[name]).float())
    assert ((read - values).abs() <= STEP[name] * values).all()


@given(count=st.integers(1, 600), seed=st.integers(0, 99))
def test_q8_is_within_half_a_step_of_its_block(count: int, seed: int) -> None:
    values = some_values(count, seed)
    read = meta.read("scale", meta.store("scale", values, "q8"), "q8")
    for mine, theirs in zip(read.split(META_BLOCK), values.split(META_BLOCK), strict=True):
        step = (theirs.max() - theirs.min()) / 255
        assert (mine - theirs).abs().max() <= 0.5001 * step + 1e-6


def test_q8_keeps_the_ends_of_a_block_and_a_constant_exactly() -> None:
    values = some_values(META_BLOCK)
    read = meta.read("scale", meta.store("scale", values, "q8"), "q8")
    assert read.min() == values.min()
    assert torch.isclose(read.max(), values.max(), rtol=2**-23)
    constant = torch.full((300,), 0.1)
    assert torch.equal(meta.read("zero", meta.store("zero", constant, "q8"), "q8"), constant)


def test_q8_blocks_do_not_hear_of_one_another() -> None:
    values = some_values(2 * META_BLOCK)
    loud = torch.cat([values[:META_BLOCK], values[META_BLOCK:] * 1e6])
    quiet = meta.read("scale", meta.store("scale", values, "q8"), "q8")
    assert torch.equal(meta.read("scale", meta.store("scale", loud, "q8"), "q8")[:META_BLOCK], quiet[:META_BLOCK])


def test_q8_of_a_short_last_block_is_not_spoiled_by_padding() -> None:
    values = some_values(META_BLOCK + 3) + 100
    read = meta.read("scale", meta.store("scale", values, "q8"), "q8")
    assert (read[-3:] - values[-3:]).abs().max() <= 3 / 255 / 2 + 1e-5


def test_negative_values_and_zeros_are_kept() -> None:
    values = torch.tensor([-3.0, 0.0, 12.0, -0.5])
    for name in METAS[:3]:
        assert torch.equal(meta.read("zero", meta.store("zero", values, name), name), values)
    assert (meta.read("zero", meta.store("zero", values, "q8"), "q8") - values).abs().max() <= 15 / 255 / 2 + 1e-6


@pytest.mark.parametrize("name", METAS)
def test_reading_some_positions_is_reading_all_and_picking(name: meta.Meta) -> None:
    stored = meta.store("scale", some_values(700), name)
    at = torch.tensor([[0, 255, 256], [699, 1, 257]])
    assert torch.equal(meta.read("scale", stored, name, at), meta.read("scale", stored, name)[at])


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("f16", 65520.0, "its scale of 6.55e+04 overflows /f16 (at most 65504): use /bf16 or /f32"),
        ("f16", -1e5, "its scale of 1e+05 overflows /f16"),
        ("f32", math.inf, "its scale of inf overflows /f32 (at most 3.4028e+38): scale the weight down"),
        ("q8", math.inf, "its scale of inf overflows /q8"),
        ("bf16", math.nan, "its scale of nan overflows /bf16"),
        ("q8", math.nan, "its scale of nan overflows /q8"),
    ],
)
def test_what_a_type_cannot_hold_is_refused(name: meta.Meta, value: float, says: str) -> None:
    with pytest.raises(FewbitsError, match=re.escape(says)):
        meta.store("scale", torch.tensor([1.0, value]), name)


def test_the_largest_value_of_a_type_is_taken() -> None:
    for name, dtype in meta.FLOATS.items():
        values = torch.tensor([torch.finfo(dtype).max])
        assert torch.equal(meta.read("scale", meta.store("scale", values, name), name), values)
