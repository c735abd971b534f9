"""Formats: how a tensor's numbers are stored, and the grammar that names them.

    FORMAT = KIND BITS [GRANULARITY] [z] [aBITS] [/META]

`uint4g64` is 4 bits with a float zero point, one scale per 64 consecutive inputs, scale and zero in 16 bits.
`uint4g64/f16e-20` stores each scale as an f16 number times 2**-20. Quantizing adds such an exponent to the format of a weight
whose scales are too small for f16; no other weight has one.
Nothing heavy is imported here, so that names can be checked before torch is loaded.
"""

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

from fewbits.errors import FewbitsError, MisfitError

Kind = Literal["uint", "int", "nf", "fp"]
Granularity = Literal["tensor", "channel", "group", "outgroup"]
Meta = Literal["f32", "f16", "bf16", "q8"]

WIDTHS: dict[str, tuple[int, ...]] = {
    "uint": tuple(range(1, 9)),
    "int": tuple(range(1, 9)),
    "nf": (2, 3, 4),
    "fp": (4, 8),
}
MOST_EXPONENT = 126  # 2**-126 is the smallest normal number in f32
META_BLOCK = 256  # values of a scale (or zero) that share one step and base under /q8
EXAMPLES = "uint4g64, int8, uint3g32z, nf4g64/q8, int8a8"

_GRAMMAR = re.compile(
    r"(?P<kind>[a-z]+?)(?P<bits>N)(?P<granularity>t|g(?P<group>N)(?P<out>o)?)?"
    r"(?P<z>z)?(?:a(?P<act>N))?(?:/(?P<meta>\w+?)(?:e-(?P<exponent>[1-9][0-9]{0,2}))?)?".replace(
        "N", "0|[1-9][0-9]{0,8}"
    )  # as it would be printed
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """How the numbers of one weight are stored.

    A weight is seen as a matrix of outputs x inputs (a convolution's inputs are flattened). One scale covers a block of it:
    all (`tensor`), a row (`channel`), `group` consecutive inputs of a row (`group`), or `group` consecutive rows of a
    column (`outgroup`, HQQ's axis 0).
    """

    kind: Kind
    bits: int
    granularity: Granularity = "channel"
    group: int = 0
    integer_zero: bool = False
    activation_bits: int | None = None
    meta: Meta = "f16"
    exponent: int = 0  # scales are stored as f16 times 2**exponent

    def __post_init__(self) -> None:
        _check_names(self.kind, self.meta)
        if self.bits not in WIDTHS[self.kind]:
            raise FewbitsError(f"{self.kind} has no {self.bits} bits: {_list(WIDTHS[self.kind])}")
        if self.granularity not in get_args(Granularity):
            raise FewbitsError(f"unknown granularity '{self.granularity}': one of {', '.join(get_args(Granularity))}")
        if self.group < 0 or (self.granularity in ("group", "outgroup")) != (self.group > 0):
            raise FewbitsError(f"a group of {self.group} makes no sense: g64 is 64 consecutive inputs, g64o 64 outputs")
        if self.integer_zero and self.kind != "uint":
            raise FewbitsError(f"'z' (integer zero point) goes with uint only, not with {self.kind}")
        if self.activation_bits not in (None, 8):
            raise FewbitsError(f"activations of {self.activation_bits} bits are not offered: a8")
        if self.exponent and (self.meta != "f16" or not -MOST_EXPONENT <= self.exponent < 0):
            raise FewbitsError(f"exponent e{self.exponent} of /{self.meta}: only /f16 takes one, from e-{MOST_EXPONENT} to e-1")

    @classmethod
    def parse(cls, text: str) -> "Format":
        """Read `uint4g64z/f32`. Raises FewbitsError that names the part that is wrong."""
        match = _GRAMMAR.fullmatch(text)
        if match is None:
            raise FewbitsError(f"unknown format '{text}': KIND BITS [t|gN|gNo] [z] [a8] [/META], such as {EXAMPLES}")
        part = match.groupdict()
        _check_names(part["kind"], part["meta"] or "f16")
        granularity: Granularity = "channel"
        if part["granularity"]:
            granularity = "tensor" if part["granularity"] == "t" else "outgroup" if part["out"] else "group"
        return cls(
            kind=cast(Kind, part["kind"]),
            bits=int(part["bits"]),
            granularity=granularity,
            group=int(part["group"] or 0),
            integer_zero=part["z"] is not None,
            activation_bits=int(part["act"]) if part["act"] else None,
            meta=cast(Meta, part["meta"] or "f16"),
            exponent=-int(part["exponent"] or 0),
        )

    def __str__(self) -> str:
        grain = {"tensor": "t", "channel": "", "group": f"g{self.group}", "outgroup": f"g{self.group}o"}
        act = f"a{self.activation_bits}" if self.activation_bits else ""
        exponent = f"e{self.exponent}" if self.exponent else ""
        meta = "" if self.meta == "f16" and not exponent else f"/{self.meta}{exponent}"
        return f"{self.kind}{self.bits}{grain[self.granularity]}{'z' * self.integer_zero}{act}{meta}"

    @property
    def levels(self) -> int:
        return 1 << self.bits

    @property
    def is_codebook(self) -> bool:
        return self.kind in ("nf", "fp")

    @property
    def has_zero(self) -> bool:
        """Whether a zero point is stored: `uint` has one, the others have none."""
        return self.kind == "uint"

    @property
    def implicit_zero(self) -> float:
        """The code that means 0 in symmetric `int`: the middle. One bit has no middle code: it stores -1/2 and +1/2."""
        return 0.5 if self.bits == 1 else float(1 << (self.bits - 1))

    def block(self, rows: int, cols: int) -> tuple[int, int]:
        """Rows and columns of the matrix that share one scale.

        Raises MisfitError where the group does not divide, FewbitsError where there is nothing to divide.
        """
        if rows * cols == 0:
            raise FewbitsError(f"a weight of {rows} x {cols} has nothing to quantize: --skip this layer")
        if self.granularity == "tensor":
            return rows, cols
        if self.granularity == "channel":
            return 1, cols
        along, extent = ("inputs", cols) if self.granularity == "group" else ("outputs", rows)
        if extent % self.group:
            fits = [d for d in (256, 128, 64, 32, 16, 8, 4, 2) if extent % d == 0][:4]
            way = f"groups of {_list(fits)} do, or" if fits else "take"
            raise MisfitError(
                f"groups of {self.group} do not divide its {extent} {along}: {way} no group at all"
                f" ({self.kind}{self.bits}), or --on-misfit keep|channel"
            )
        return (1, self.group) if self.granularity == "group" else (self.group, 1)


def _check_names(kind: str, meta: str) -> None:
    if kind not in WIDTHS:
        raise FewbitsError(f"unknown kind '{kind}': one of {', '.join(WIDTHS)} (such as {EXAMPLES})")
    if meta not in get_args(Meta):
        raise FewbitsError(f"unknown type of scales '/{meta}': /f32, /f16, /bf16 or /q8")


def _list(values: tuple[int, ...] | list[int]) -> str:
    return ", ".join(str(v) for v in values)
