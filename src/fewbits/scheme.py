"""A scheme: a method and a format, `[METHOD:]FORMAT`, such as `hqq:uint4g64` or `nf4g64/q8`."""

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

    def __str__(self) -> str:
        return str(self.format) if self.format.is_codebook and self.method == "absmax" else f"{self.method}:{self.format}"

    def quantize(self, weight: "Shaped[Tensor, '...']") -> "QuantizedTensor":
        """Quantize a weight whose first axis is the outputs."""
        return methods.get(self.method).quantize(weight, self.format)


def parse_target(text: str) -> Scheme | None:
    """A scheme, or None for `keep`."""
    return None if text.strip() == KEEP else Scheme.parse(text)
