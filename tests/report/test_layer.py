"""The words and the page of one layer."""

from dataclasses import replace

import pytest
import torch

from fewbits.inspect.look import view_of
from fewbits.inspect.values import GroupBits, LayerView
from fewbits.report.html import to_html
from fewbits.report.layer import words
from fewbits.report.layer.compose import compose
from fewbits.report.page import Figure
from fewbits.scheme import Scheme

GROUP = GroupBits(
    why="the first group",
    at=tuple((0, col) for col in range(8)),
    size=64,
    scale=0.5,
    zero=2.0,
    weights=(),
    codes=(2, 5, 3, 4, 1, 2, 1, 2),
    values=(0.0,) * 8,
    bits_at=tuple(range(0, 24, 3)),
    first_byte=0,
    packed=bytes((0xEA, 0x18, 0x45)),
    scale_bytes=b"\x00\x38",
    zero_bytes=b"",
)


@pytest.fixture(scope="module")
def view() -> LayerView:
    weight = torch.randn(32, 64, generator=torch.Generator().manual_seed(0))
    return view_of(weight, Scheme.parse("hqq:uint3g32"), model="tiny", name="model.layers.0.mlp.up_proj")


def test_bits_are_written_with_a_point_between_codes() -> None:
    """2, 5, 3, 4, 1, 2, 1, 2 in 3 bits each, the first of them in the lowest bits."""
    assert [line.split("  ")[-1] for line in words.bit_lines(GROUP, 3)] == ["11·101·010", "0·001·100·0", "010·001·01"]
    assert words.bit_lines(GROUP, 3)[0].startswith("byte 0 ") and " ea " in words.bit_lines(GROUP, 3)[0]


def test_codes_far_from_each_other_are_told_one_by_one() -> None:
    apart = replace(GROUP, packed=b"", bits_at=tuple(range(0, 8 * 100, 100)))
    assert words.bit_lines(apart, 3)[:2] == ["code 2 begins at bit 0 of byte 0", "code 5 begins at bit 4 of byte 12"]


def test_the_first_weight_is_worked_out() -> None:
    assert words.decode_line(GROUP) == "(code 2 - zero 2) x scale 0.500 = 0"
    assert words.decode_line(replace(GROUP, zero=None)).startswith("codebook[2] x scale 0.500")
    assert words.stored_numbers(GROUP, "f16") == "scale 0.500 (/f16: bytes 00 38), zero 2"


def test_sentences_hold_the_figures(view: LayerView) -> None:
    assert view.error is not None and view.stored is not None
    assert f"{view.weights.kurtosis:.2f}" in words.about_weights(view.weights)
    assert f"{100 * view.error.relative:.3g} %" in words.about_error(view.error)
    assert f"{view.stored.nbytes:,} bytes" in words.about_stored(view.stored)
    assert "8 values" in words.about_grid(view)


def test_the_page_has_all(view: LayerView) -> None:
    page = compose(view)
    text = to_html(page)
    assert [s.title for s in page.sections] == [
        "The weights",
        "The error",
        "What is stored",
        "Down to the bits",
        "To make it again",
    ]
    assert sum(isinstance(p, Figure) for s in page.sections for p in s.parts) == 3
    assert "fewbits inspect tiny model.layers.0.mlp.up_proj hqq:uint3g32" in text and "byte 0" in text


def test_without_a_scheme_the_page_is_of_the_weights(view: LayerView) -> None:
    bare = compose(replace(view, stored=None, error=None, notes=("no scheme was given",)))
    assert [s.title for s in bare.sections] == ["The weights", "To make it again"]
    assert "no scheme was given" in to_html(bare)
