"""Limits in the user's units: `size<=16MiB`, `ppl<=+2%`, `accuracy>=-0.5pt`, `kl<=0.05`, `decode_speed>=100`, `latency<=20ms`.

    MEASURE (<= | >=) [+ | -] NUMBER [UNIT]

A signed percentage is relative to the original: `+2%` is 1.02 times its value. `pt` are percentage points from it. Without a
sign, a percentage is a share of all cases for `accuracy` and `top1` (`90%` is 0.9), and a share of the original for `size`,
`memory`, `latency` and `decode_speed` (`size<=25%`); for `ppl` and `loss` it is refused, since `2%` may mean either. Bytes take
B, kB, MB, GB (powers of 1000) and KiB, MiB, GiB (of 1024), times s, ms and us; `decode_speed` is in tokens a second. `≤` and
`≥` are read as <= and >=.
"""

import re
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from fewbits.errors import FewbitsError

Base = Literal["absolute", "relative", "points"]
BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
TIMES = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
SENSE = {
    "size": "<=", "bits": "<=", "memory": "<=", "latency": "<=", "decode_speed": ">=",
    "kl": "<=", "ppl": "<=", "loss": "<=", "accuracy": ">=", "top1": ">=",
}  # fmt: skip
COSTS = ("size", "bits", "memory")  # known from the plan alone; the others are measured
SPEEDS = ("decode_speed", "latency")  # told from a table of layers' times, then measured
_IN_BYTES = ("size", "memory")
_UNITS = dict.fromkeys(_IN_BYTES, ("B", "kB", "MB", "GB", "KiB", "MiB", "GiB")) | {"latency": ("s", "ms", "us")}
_RELATIVE = ("size", "memory", "ppl", "loss", "accuracy", "decode_speed", "latency")
SHARES = ("accuracy", "top1")
_PARTS = (*_IN_BYTES, *SPEEDS)  # a percentage without a sign is a part of the original's
_SIGNS = str.maketrans({"≤": "<=", "≥": ">=", "\N{MINUS SIGN}": "-", "\N{NO-BREAK SPACE}": " "})
_BITS = ("Kb", "kb", "Mb", "Gb", "Kib", "Mib", "Gib")  # bits to some, bytes to others
_GRAMMAR = re.compile(r"\s*([a-z_0-9]+)\s*(<=|>=|=<|=>|==|=|<|>)\s*([+-]?)([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([a-zA-Z%]*)\s*")
EXAMPLES = "'size<=16MiB', 'ppl<=+2%', 'accuracy>=90%', 'accuracy>=-0.5pt', 'kl<=0.05', 'decode_speed>=100'"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A bound on one measure. `value` is in the measure's unit (bytes, share, nats); with `relative` a factor of the
    original's value, with `points` a share to be added to it.
    """

    measure: str
    value: float
    base: Base = "absolute"
    text: str = ""

    @property
    def is_cost(self) -> bool:
        return self.measure in COSTS

    @property
    def is_speed(self) -> bool:
        return self.measure in SPEEDS

    @property
    def is_most(self) -> bool:
        """Whether it bounds from above."""
        return SENSE[self.measure] == "<="

    def bound(self, original: float) -> float:
        """The bound in the measure's own unit, given what the original measures."""
        if self.base == "relative":
            return original * self.value
        return original + self.value if self.base == "points" else self.value

    def __str__(self) -> str:
        return self.text or f"{self.measure}{SENSE[self.measure]}{self.value:g}"


def parse_limit(text: str) -> Limit:
    """Read a limit. Raises FewbitsError that says what is wrong and what would do."""
    match = _GRAMMAR.fullmatch(text.translate(_SIGNS)) if len(text) <= 200 else None
    if match is None:
        raise FewbitsError(f"a limit is MEASURE<=VALUE or MEASURE>=VALUE, such as {EXAMPLES}, not '{text}'")
    name, sense, sign, number, unit = match.groups()
    if name not in SENSE:
        raise FewbitsError(f"limit '{text}': no limit on '{name}', only on {', '.join(SENSE)}")
    if sense != SENSE[name]:
        raise FewbitsError(
            f"limit '{text}': {name} is bounded by {SENSE[name]}, as in '{name}{SENSE[name]}{sign}{number}{unit}'"
        )
    if not isfinite(float(number)):
        raise FewbitsError(f"limit '{text}': {number:.40} is no finite number")
    value, base = _value(text, name, sign, float(number), unit)
    if not isfinite(value):
        raise FewbitsError(f"limit '{text}': {number:.40} {unit} is too large a number")
    _check_possible(text, name, value, base)
    return Limit(measure=name, value=value, base=base, text=f"{name}{sense}{sign}{number}{unit}")


def _value(text: str, name: str, sign: str, number: float, unit: str) -> tuple[float, Base]:
    if sign or unit == "pt":
        return _relative(text, name, sign, -number if sign == "-" else number, unit)
    if unit == "%" and (name in SHARES or name in _PARTS):
        return number / 100, "absolute" if name in SHARES else "relative"
    if unit == "%":
        raise FewbitsError(f"limit '{text}': {_percent(name, number)}")
    units = BYTES if name in _IN_BYTES else TIMES if name == "latency" else {}
    known = unit.upper() if units is BYTES and unit not in _BITS else unit
    if unit and known not in units:
        offered = f"unknown unit '{unit}': {', '.join(_UNITS[name])}" if units else f"{name} has no unit '{unit}'"
        raise FewbitsError(f"limit '{text}': {offered}")
    if name in SHARES and number > 1:
        raise FewbitsError(f"limit '{text}': {name} is a share: '{name}>={number:g}%'")
    if name in SHARES and number == 1:
        raise FewbitsError(f"limit '{text}': write '{name}>=100%' or '{name}>=1%'")
    return number * units.get(known, 1), "absolute"


def _percent(name: str, number: float) -> str:
    """What to write in place of a percentage without a sign."""
    if name not in _RELATIVE:
        return f"{name} has no unit '%': give a number, such as {name}{SENSE[name]}{number / 100:g}"
    more = number if SENSE[name] == "<=" else -number
    return (
        f"a percentage needs a sign: '{name}{SENSE[name]}{more:+g}%' is {1 + more / 100:g} times the original's,"
        f" '{name}{SENSE[name]}{number - 100:+g}%' is {number / 100:g} times it"
    )


def _relative(text: str, name: str, sign: str, signed: float, unit: str) -> tuple[float, Base]:
    """A value with a sign: per cent of the original, or points from it."""
    if unit == "pt":
        if name not in SHARES or not sign:
            raise FewbitsError(f"limit '{text}': points from the original go with a sign and with {' and '.join(SHARES)}")
        return signed / 100, "points"
    if unit != "%":
        hint = f"{name} is never negative" if sign == "-" else "a sign means relative to the original"
        raise FewbitsError(f"limit '{text}': {hint}: relative limits are in % or pt, as in 'ppl<=+2%'")
    if name not in _RELATIVE:
        raise FewbitsError(f"limit '{text}': {name} is already relative to the original: give a number, such as {name}<=0.05")
    return 1 + signed / 100, "relative"


def _check_possible(text: str, name: str, value: float, base: Base) -> None:
    """Raise FewbitsError for a bound that no plan can keep, or that every plan keeps."""
    if base == "points":
        if not -1 < value <= 1:
            raise FewbitsError(f"limit '{text}': {name} moves by less than 100 points")
        return
    least = 1 if name == "ppl" and base == "absolute" else 0
    if SENSE[name] == "<=" and (value <= 0 or value < least):
        least_said = f"at least {least}" if least else "above 0"
        raise FewbitsError(f"limit '{text}': no plan keeps it: {name} is {least_said}")
    if name in SHARES and base == "absolute" and value > 1:
        raise FewbitsError(f"limit '{text}': no plan keeps it: {name} is at most 100%")
    if SENSE[name] == ">=" and value <= 0:
        raise FewbitsError(f"limit '{text}': every plan keeps it: give a bound above 0")
