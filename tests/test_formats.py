"""The grammar: what parses, how it prints, and what is refused with which words."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewbits.errors import FewbitsError, MisfitError
from fewbits.formats import WIDTHS, Format
from tests.strategies import EVERY, formats

# Every example of the house plan: as written, what it means.
EXAMPLES = {
    "uint4g64": Format(kind="uint", bits=4, granularity="group", group=64),
    "int8": Format(kind="int", bits=8),
    "int8a8": Format(kind="int", bits=8, activation_bits=8),
    "nf4g64/q8": Format(kind="nf", bits=4, granularity="group", group=64, meta="q8"),
    "uint3g32z": Format(kind="uint", bits=3, granularity="group", group=32, integer_zero=True),
    "uint8g64": Format(kind="uint", bits=8, granularity="group", group=64),
    "nf4g64": Format(kind="nf", bits=4, granularity="group", group=64),
    "uint4g64z/f32": Format(kind="uint", bits=4, granularity="group", group=64, integer_zero=True, meta="f32"),
    "uint4t": Format(kind="uint", bits=4, granularity="tensor"),
    "uint2g16o/bf16": Format(kind="uint", bits=2, granularity="outgroup", group=16, meta="bf16"),
    "uint4tza8/q8": Format(kind="uint", bits=4, granularity="tensor", integer_zero=True, activation_bits=8, meta="q8"),
    "fp8": Format(kind="fp", bits=8),
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_parse_to_what_they_mean_and_print_as_written(text: str) -> None:
    assert Format.parse(text) == EXAMPLES[text]
    assert str(Format.parse(text)) == text


@given(formats())
def test_every_format_prints_and_parses_back(format: Format) -> None:
    assert Format.parse(str(format)) == format


def test_every_combination_of_parts_is_a_format() -> None:
    assert len({Format.parse(text) for text in EVERY}) == len(EVERY) == 29 * 4 * 4


def test_f16_is_the_default_and_is_not_printed() -> None:
    assert Format.parse("int8/f16") == Format.parse("int8")
    assert str(Format.parse("int8/f16")) == "int8"


@given(st.text())
def test_garbage_is_refused_in_one_line_or_prints_back(text: str) -> None:
    try:
        format = Format.parse(text)
    except FewbitsError as error:
        assert len(str(error).splitlines()) <= 1 or text in str(error)
    else:
        assert str(format) == text.removesuffix("/f16")


@given(st.from_regex(r"(uint|int|nf|fp|q)[0-9]{1,3}(t|g[0-9]{1,4}o?)?z?(a[0-9]{1,2})?(/[a-z0-9]{1,4})?", fullmatch=True))
def test_what_looks_like_a_format_prints_back_or_is_refused(text: str) -> None:
    try:
        format = Format.parse(text)
    except FewbitsError:
        return
    assert str(format) == text.removesuffix("/f16")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "unknown format ''"),
        ("uint", "unknown format 'uint'"),
        ("4", "unknown format '4'"),
        ("UINT4", "unknown format 'UINT4'"),
        ("uint4 ", "unknown format 'uint4 '"),
        ("uint4\n", "unknown format"),
        ("uint4g64x", "unknown format 'uint4g64x'"),
        ("uint4zg64", "unknown format 'uint4zg64'"),
        ("uint4g", "unknown format 'uint4g'"),
        ("uint4to", "unknown format 'uint4to'"),
        ("uint04", "unknown format 'uint04'"),  # would print back as another text
        ("uint4g064", "unknown format 'uint4g064'"),
        ("uint\uff14", "unknown format"),  # a full-width digit is a digit to Python
        ("uint4g" + "9" * 5000, "unknown format"),  # which int() refuses to read
        ("bint4", "unknown kind 'bint': one of uint, int, nf, fp"),
        ("uint9", "uint has no 9 bits: 1, 2, 3, 4, 5, 6, 7, 8"),
        ("uint0", "uint has no 0 bits"),
        ("nf5", "nf has no 5 bits: 2, 3, 4"),
        ("fp6", "fp has no 6 bits: 4, 8"),
        ("uint4g0", "a group of 0 makes no sense"),
        ("int4z", "'z' (integer zero point) goes with uint only, not with int"),
        ("nf4g64z", "'z' (integer zero point) goes with uint only, not with nf"),
        ("int8a4", "activations of 4 bits are not offered: a8"),
        ("int8/f64", "unknown type of scales '/f64': /f32, /f16, /bf16 or /q8"),
        ("int8/", "unknown format 'int8/'"),
    ],
)
def test_what_is_wrong_is_named(text: str, says: str) -> None:
    with pytest.raises(FewbitsError, match=re.escape(says)):
        Format.parse(text)


def test_a_group_goes_with_groups_only() -> None:
    for granularity, group in (("channel", 64), ("tensor", 1), ("group", 0), ("group", -64), ("channel", -1)):
        with pytest.raises(FewbitsError, match=f"a group of {group} makes no sense"):
            Format(kind="int", bits=4, granularity=granularity, group=group)


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("int4t", (24, 96)),
        ("int4", (1, 96)),
        ("int4g32", (1, 32)),
        ("int4g96", (1, 96)),
        ("int4g1", (1, 1)),
        ("int4g8o", (8, 1)),
    ],
)
def test_block(text: str, block: tuple[int, int]) -> None:
    assert Format.parse(text).block(24, 96) == block


@pytest.mark.parametrize(
    ("text", "shape", "says"),
    [
        (
            "uint4g64",
            (24, 96),
            "groups of 64 do not divide its 96 inputs: groups of 32, 16, 8, 4 do, or no group at all (uint4)",
        ),
        ("uint4g64o", (24, 96), "groups of 64 do not divide its 24 outputs: groups of 8, 4, 2 do, or no group at all (uint4)"),
        ("nf4g2", (8, 27), "groups of 2 do not divide its 27 inputs: take no group at all (nf4), or --on-misfit keep|channel"),
        ("int8g512", (8, 256), "groups of 512 do not divide its 256 inputs: groups of 256, 128, 64, 32 do"),
    ],
)
def test_a_group_that_does_not_divide_is_refused_with_what_would(text: str, shape: tuple[int, int], says: str) -> None:
    with pytest.raises(MisfitError, match=re.escape(says)):
        Format.parse(text).block(*shape)


@given(formats(), st.integers(1, 4), st.integers(1, 4))
def test_blocks_tile_every_matrix_that_they_fit(format: Format, tall: int, wide: int) -> None:
    rows, cols = tall * max(format.group, 1), wide * max(format.group, 1)
    r, c = format.block(rows, cols)
    assert rows % r == cols % c == 0
    assert r * c == {"tensor": rows * cols, "channel": cols}.get(format.granularity, format.group)


@pytest.mark.parametrize("shape", [(0, 8), (8, 0)])
@pytest.mark.parametrize("text", ["int4t", "int4", "int4g8", "int4g8o"])
def test_an_empty_weight_is_refused(text: str, shape: tuple[int, int]) -> None:
    with pytest.raises(FewbitsError, match="has nothing to quantize"):
        Format.parse(text).block(*shape)


@pytest.mark.parametrize("bits", WIDTHS["int"])
def test_the_middle_code_of_int_is_zero(bits: int) -> None:
    """One bit has no middle code: its two stand at -1/2 and +1/2."""
    middle = Format(kind="int", bits=bits).implicit_zero
    assert middle == {1: 0.5, 2: 2, 3: 4, 4: 8, 5: 16, 6: 32, 7: 64, 8: 128}[bits]


def test_what_a_format_stores() -> None:
    assert [Format.parse(t).has_zero for t in ("uint4", "uint4z", "int4", "nf4", "fp8")] == [True, True, False, False, False]
    assert [Format.parse(t).is_codebook for t in ("uint4", "int4", "nf4", "fp4", "fp8")] == [False, False, True, True, True]
    assert [Format.parse(t).levels for t in ("uint1", "int3", "nf4", "fp8")] == [2, 8, 16, 256]
