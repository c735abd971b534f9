"""A scheme: a method and a format, `[METHOD:]FORMAT`, such as `hqq:uint4g64` or `nf4g64/q8`."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fewbits import methods
from fewbits.errors import FewbitsError
from fewbits.formats import Format

if TYPE_CHECKING:
    from jaxtyping import Shaped
    from torch import Tensor

    from fewbits.tensor import QuantizedTensor

KEEP = "keep"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheme:
    """What is done to a layer. Prints back as it parses; the default method of a codebook is left out."""

    method: str
    format: Format

    @classmethod
    def parse(cls, text: str) -> "Scheme":
        """Read `hqq:uint4g64`. Raises FewbitsError that names what is unknown and what would work."""
        method, colon, name = text.strip().rpartition(":")
        if colon and method not in methods.names():
            raise FewbitsError(f"unknown method '{method}' in scheme '{text}': one of {', '.join(methods.names())}")
        format = Format.parse(name)
        return cls(method=method or methods.default_for(format.kind), format=format)

    @classmethod
    def parse_stored(cls, text: str) -> "Scheme":
        """Read the scheme of a layer that is quantized already, by a method that may not be installed here.

        Raises:
            FewbitsError: The format is unknown, or the method is no name.
        """
        method, _, name = text.strip().rpartition(":")
        if re.fullmatch(r"[A-Za-z][\w.-]{0,99}", method, re.ASCII) and method not in methods.names():
            return cls(method=method, format=Format.parse(name))
        return cls.parse(text)

    def __str__(self) -> str:
        return str(self.format) if self.format.is_codebook and self.method == "absmax" else f"{self.method}:{self.format}"

    def quantize(self, weight: "Shaped[Tensor, '...']") -> "QuantizedTensor":
        """Quantize a weight whose first axis is the outputs."""
        return methods.get(self.method).quantize(weight, self.format)


def parse_target(text: str, *, stored: bool = False) -> Scheme | None:
    """A scheme, or None for `keep`. `stored` is that of a layer that is quantized already."""
    if text.strip() == KEEP:
        return None
    return Scheme.parse_stored(text) if stored else Scheme.parse(text)
