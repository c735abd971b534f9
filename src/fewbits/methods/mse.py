"""Least squares: the scale and zero point of the smallest squared error that a search finds for each group.

sum_i (w_i - scale (code_i - zero))**2      or with codebook[code_i] for nf and fp
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from fewbits.formats import Format
from fewbits.methods._search import Search
from fewbits.methods.base import Fit, Method
from fewbits.solvers import Recipe

SEARCH = Search(lengths=(1.0, 0.6, 0.4, 0.25))


@dataclass(frozen=True, kw_only=True)
class LeastSquares(Method):
    """For every kind of format, and never worse than `rtn` and `absmax`, where it begins."""

    kinds: ClassVar[tuple[str, ...]] = ("uint", "int", "nf", "fp")

    def recipe(self, format: Format) -> Recipe:
        return SEARCH.recipe()

    def fit(self, groups: Float[Tensor, "n k"], format: Format) -> Fit:
        return SEARCH.run(groups, format)
