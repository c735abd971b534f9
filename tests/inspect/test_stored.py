"""What is told of a stored weight, held against what the packed bytes say by themselves."""

import math

import pytest
import torch

from fewbits.inspect.errors import beyond, error_view
from fewbits.inspect.look import view_of
from fewbits.inspect.stored import stored_view
from fewbits.inspect.values import StoredView
from fewbits.scheme import Scheme

SCHEMES = (
    "rtn:uint4g16",
    "rtn:uint3g16",
    "rtn:uint5",
    "rtn:int8",
    "hqq:uint2g16o",
    "nf4g16/q8",
    "fp8",
    "rtn:uint4g16z",
    "rtn:int1g16",
)


def weight(rows: int = 32, cols: int = 48) -> torch.Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(3)) * 0.05


def look(name: str) -> StoredView:
    scheme = Scheme.parse(name)
    return stored_view(scheme, scheme.quantize(weight()), weight())


@pytest.mark.parametrize("name", SCHEMES)
def test_codes_are_where_the_bits_say(name: str) -> None:
    """Reads every shown code back from the stored bytes, bit by bit."""
    stored = Scheme.parse(name).quantize(weight())
    stream = "".join(f"{byte:08b}"[::-1] for byte in stored.tensors["codes"].tolist())
    for group in look(name).shown:
        for code, at in zip(group.codes, group.bits_at, strict=True):
            assert int(stream[at : at + stored.format.bits][::-1], 2) == code
        if group.packed:
            assert list(group.packed) == stored.tensors["codes"][group.first_byte :][: len(group.packed)].tolist()
            assert group.first_byte == group.bits_at[0] // 8


@pytest.mark.parametrize("name", SCHEMES)
def test_values_are_what_the_layer_computes_with(name: str) -> None:
    stored = Scheme.parse(name).quantize(weight())
    dense = stored.dequantize()
    for group in look(name).shown:
        assert list(group.values) == [dense[at].item() for at in group.at]
        assert list(group.weights) == pytest.approx([weight()[at].item() for at in group.at])
        if group.zero is not None:
            assert list(group.values) == pytest.approx(
                [(c - group.zero) * group.scale for c in group.codes], rel=1e-5, abs=1e-7
            )


@pytest.mark.parametrize("name", SCHEMES)
def test_what_is_counted(name: str) -> None:
    seen, stored = look(name), Scheme.parse(name).quantize(weight())
    assert seen.nbytes == stored.nbytes == sum(seen.tensors.values())
    assert seen.bits_per_weight == pytest.approx(8 * stored.nbytes / weight().numel())
    assert sum(seen.used) == weight().numel() and len(seen.used) == stored.format.levels
    assert 0 < seen.entropy <= seen.bits
    assert list(seen.grid) == sorted(seen.grid) and len(seen.grid) == (254 if name == "fp8" else stored.format.levels)
    assert seen.groups * seen.group_size == weight().numel()


def test_scale_and_zero_are_shown_as_stored() -> None:
    group = look("rtn:uint4g16").shown[0]
    assert torch.frombuffer(bytearray(group.scale_bytes), dtype=torch.float16).item() == group.scale
    assert torch.frombuffer(bytearray(group.zero_bytes), dtype=torch.float16).item() == group.zero
    assert look("nf4g16/q8").shown[0].scale_bytes == b""  # a code of its own, not a number


def test_the_worst_group_is_shown() -> None:
    bad = weight()
    bad[7, 20] = 3.0
    scheme = Scheme.parse("rtn:uint2g16")
    why = {group.why: group.at[0] for group in stored_view(scheme, scheme.quantize(bad), bad).shown}
    assert why["the first group"] == (0, 0) and (7, 16) in why.values()


def test_errors() -> None:
    scheme = Scheme.parse("rtn:uint3g16")
    stored = scheme.quantize(weight())
    seen, off = error_view(weight(), stored), stored.dequantize() - weight()
    assert seen.relative == pytest.approx((off.norm() / weight().norm()).item(), rel=1e-5)
    assert seen.sqnr == pytest.approx(-20 * math.log10(seen.relative))
    assert seen.rms == pytest.approx(off.square().mean().sqrt().item(), rel=1e-5)
    worst = seen.wrong[0]
    assert abs(worst.error) == seen.worst == off.abs().max().item()
    assert off[worst.row, worst.col].item() == worst.error == pytest.approx(worst.becomes - worst.weight)
    assert [abs(w.error) for w in seen.wrong] == sorted((abs(w.error) for w in seen.wrong), reverse=True)
    assert abs(worst.steps) <= 0.51  # round to nearest clips nothing: half a step, and the rounding of the scale


def test_nothing_is_wrong_with_what_fits_exactly() -> None:
    exact = torch.tensor([[0.0, 1.0, 2.0, 3.0]] * 4)
    seen = error_view(exact, Scheme.parse("rtn:uint2").quantize(exact))
    assert (seen.relative, seen.sqnr, seen.clipped) == (0.0, math.inf, 0.0)


@pytest.mark.parametrize(("name", "clipped"), [("rtn:uint2", 1), ("nf4", 1), ("fp8", 1)])
def test_what_lies_beyond_the_grid_is_clipped(name: str, clipped: int) -> None:
    """A weight that is doubled after the grid was fitted lies beyond it by far more than half a step."""
    stored = Scheme.parse(name).quantize(weight())
    grown = stored.dequantize().clone()
    assert not beyond(grown, stored).any()
    largest = divmod(int(grown.abs().argmax()), grown.shape[1])
    grown[largest] *= 2
    outside = beyond(grown, stored)
    assert int(outside.sum()) == clipped and bool(outside[largest])


def test_half_a_step_beyond_is_not_yet_clipped() -> None:
    """The grid is 0, 1, 2, 3."""
    stored = Scheme.parse("rtn:uint2/f32").quantize(torch.tensor([[0.0, 1.0, 2.0, 3.0]]))
    assert beyond(torch.tensor([[-0.49, -0.51, 3.49, 3.51]]), stored).tolist() == [[False, True, False, True]]


def test_a_convolution() -> None:
    seen = view_of(torch.randn(8, 3, 3, 3), Scheme.parse("rtn:uint4"), name="conv", kind="Conv2d")
    assert seen.weights.shape == (8, 3, 3, 3) and seen.stored is not None and seen.stored.group_size == 27
