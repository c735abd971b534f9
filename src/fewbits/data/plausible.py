"""Numbers that an image processor's settings may have: sizes that fit in memory, means and deviations that make sense."""

from math import isfinite
from typing import TYPE_CHECKING

from fewbits.errors import FewbitsError, shown

if TYPE_CHECKING:
    from fewbits.data.prepare import Preparation

MOST_PIXELS = 2**14  # of an edge


def check_numbers(made: "Preparation") -> None:
    """Raise FewbitsError for an image size of no pixels or too many, and for a mean or deviation that cannot be used."""
    for edge in (made.shortest, *(made.size or ()), *(made.crop or ())):
        if edge is not None and not 1 <= edge <= MOST_PIXELS:
            raise FewbitsError(f"the image processor makes images of {shown(edge)} pixels: 1 to {MOST_PIXELS} are possible")
    if made.std and len(made.mean) != len(made.std) and 1 not in (len(made.mean), len(made.std)):
        raise FewbitsError(f"the image processor has {len(made.mean)} means but {len(made.std)} standard deviations")
    if not all(isfinite(value) for value in (made.scale, *made.mean, *made.std)) or 0 in made.std:
        raise FewbitsError(f"the image processor's mean {shown(made.mean)} or std {shown(made.std)} makes no sense")
