"""Figures as they are read: so many digits as tell two rows apart, uncertainty beside them, bytes in MiB."""

from math import isfinite

from fewbits.report.page import Cell, Number

MIB = 1024**2
MINUS, DASH, TIMES = "\u2212", "\u2013", "\u00d7"  # as print has them
NONE = Cell(text=DASH)
MOST = 1e6  # figures above it are written as powers of ten
FINE = 5  # with so many digits or more, a figure of which less than two digits would be left is too


def number(value: Number | None, digits: int = 2, *, se: Number | None = None, times: Number = 1.0, unit: str = "") -> Cell:
    """A figure with its standard error, both times a factor (100 for shares as percentages)."""
    if value is None:
        return NONE
    note = "" if se is None else f"± {times * se:,.{digits}f}"
    return Cell(text=plain(times * value, digits) + unit, note=note, value=value)


def plain(value: Number, digits: int = 2) -> str:
    """A figure with separators; what is beyond a million, or too small for its digits, as a power of ten."""
    if not isfinite(value):
        return "∞" if value > 0 else f"{MINUS}∞" if value < 0 else "not a number"
    if digits >= FINE and 0 < abs(value) < 10.0 ** (1 - digits):
        return _power(value, 1)
    return f"{value:.2e}" if abs(value) >= MOST and digits else f"{value:,.{digits}f}".replace("-", MINUS)


def short(value: Number) -> str:
    """Three significant digits, for axes, sentences and labels: 0.0292, 33.2, 1,161."""
    if not isfinite(value) or value == 0:
        return plain(value, 0)
    if abs(value) >= MOST or abs(value) < 1e-4:
        return _power(value, 2)
    digits = max(0, 2 - _exponent(value))
    return plain(value, digits)


def mib(count: Number | None, digits: int = 3) -> Cell:
    """Bytes as MiB."""
    return NONE if count is None else Cell(text=f"{count / MIB:,.{digits}f}", value=count)


def _power(value: Number, digits: int) -> str:
    return f"{value:.{digits}e}".replace("e-0", "e-").replace("e+0", "e").replace("-", MINUS)


def _exponent(value: Number) -> int:
    return int(f"{abs(value):.2e}".partition("e")[2])
