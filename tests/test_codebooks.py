"""The tables against their definitions, worked out anew here."""

import pytest
import torch

from fewbits.codebooks import codebook, codebook_of
from fewbits.formats import Format


def quantiles(outer: float, count: int) -> list[float]:
    """Normal quantiles of `count` probabilities from `outer` down to, but without, one half."""
    return [
        float(torch.special.ndtri(torch.tensor(outer + (0.5 - outer) * k / count, dtype=torch.float64))) for k in range(count)
    ]


@pytest.mark.parametrize(("bits", "ulps"), [(2, 0.51), (3, 0.51), (4, 4.0)])  # the paper's table was computed in f32
def test_normal_float_is_the_quantiles_of_the_paper(bits: int, ulps: float) -> None:
    n = 1 << bits
    outer = ((1 - 1 / (2 * n)) + (1 - 1 / (2 * (n - 1)))) / 2
    positive, negative = quantiles(outer, n // 2), quantiles(outer, n // 2 - 1)
    expected = sorted([-q / positive[0] for q in negative] + [0.0] + [q / positive[0] for q in positive])
    book = codebook("nf", bits).double()
    assert book.numel() == n
    assert ((book - torch.tensor(expected, dtype=torch.float64)).abs() <= ulps * 2**-24).all()


def test_nf4_is_the_published_table_to_the_last_bit() -> None:
    """QLoRA, appendix E."""
    published = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635]
    published += [-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725]
    published += [0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]
    assert codebook("nf", 4).tolist() == published


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_normal_float_rises_from_minus_one_to_one_through_zero(bits: int) -> None:
    book = codebook("nf", bits)
    assert (book.diff() > 0).all()
    assert (book[0], book[-1], (book == 0).sum()) == (-1, 1, 1)


def test_fp4_is_sign_two_exponent_bits_and_one_of_mantissa() -> None:
    """Normal numbers are 2**(e-1) * (1 + m/2), over 3; the subnormal one is 1/16 over 12, by bitsandbytes' own rule."""
    book = codebook("fp", 4)
    for code in range(8):
        exponent, mantissa = code >> 1, code & 1
        # Exponents 0, 1, 2, 3 stand for zero or subnormal, 8, 4 and 2 twelfths.
        scale = {1: 8, 2: 4, 3: 2}.get(exponent)
        value = mantissa / 16 if scale is None else scale * (1 + mantissa / 2)
        assert book[code] == torch.tensor(value) / 12
        assert book[code + 8] == -book[code]


def test_fp8_is_e4m3fn() -> None:
    book = codebook("fp", 8)
    for code in range(256):
        sign, exponent, mantissa = -1 if code & 128 else 1, (code >> 3) & 15, code & 7
        if (exponent, mantissa) == (15, 7):
            assert book[code].isnan()
        else:
            value = (1 + mantissa / 8) * 2.0 ** (exponent - 7) if exponent else mantissa / 8 * 2.0**-6
            assert book[code] == sign * value
    assert book.nan_to_num(0).max() == 448


def test_codebook_of_a_format_is_f32_and_has_a_value_for_each_code() -> None:
    for text in ("nf2", "nf3g8", "nf4g64/q8", "fp4t", "fp8"):
        format = Format.parse(text)
        book = codebook_of(format, torch.device("cpu"))
        assert (book.shape, book.dtype) == ((format.levels,), torch.float32)
