"""Half-quadratic quantization: a search that, below 5 bits, lets the lp norm of no group's errors rise, p < 1.

    sum_i |w_i - scale (code_i - zero)|**p      Badri and Shaji 2023, Half-Quadratic Quantization, mobiusml.github.io/hqq_blog

They make this norm small, by the zero point alone, from round-to-nearest on. The scale is found here too, and with both free the
grids of the least norm give up the largest weights, which a model needs most: such grids doubled the KL divergence that their
zero points alone had cost (three small models at 4, 3 and 2 bits, geometric mean 2.1). So the norm is what must not rise above
round-to-nearest's, group by group; below that the squared errors are made small, those of large weights counting more:

    sum_i (floor + (|w_i| / mean |w|)**power) (w_i - scale (code_i - zero))**2

A grid of 2 bits has four values, and the largest weights are the first that it gives up: there nothing but their size counts, to
the power of the norm. A vision transformer's divergence fell from 0.136 to 0.126 by it (10,000 images), below the 0.133 of the
zero points alone; two language models' rose from 0.68 and 0.39 to 0.72 and 0.41, where those cost 1.18 and 0.74.

From 5 bits on no weight is given up: all errors are of one size, and their norm tells nothing that their squares do not. What is
left to gain is many grids to choose from, none much shorter than its group: at 8 bits the divergence of three small models, groups
laid three or four ways, is 7 to 14 % below that of the zero points alone, where the norm and the weights' size gave -3 to 9 %. At
4 bits eight rounds in place of three take another 0 to 5 % off.
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from fewbits.errors import FewbitsError
from fewbits.formats import Format
from fewbits.methods._search import Search
from fewbits.methods.base import Fit, Method
from fewbits.solvers import Count, Recipe

FINE = 5  # bits from which on nothing is clipped that matters
STEPS = (0.3, 0.6, 1.2, 2.4, 4.8)  # that such a grid is shortened by
PARTS = (0.025, 0.05, 0.1, 0.2, 0.3)  # of its length that another one is shortened by
ROUNDS = (0.8, 0.6, 0.4, 0.25, 0.7, 0.5, 0.3, 0.15)
MANY, FEW = Count(floor=0.5, power=0.7), Count(floor=2**-10, power=0.7)  # 3 and 4 bits, and below


@dataclass(frozen=True, kw_only=True)
class HalfQuadratic(Method):
    """Needs no data, 5 times as fast as the library it is named after or more, and good down to 3 bits. `p`: of the norm, below 5 bits."""

    kinds: ClassVar[tuple[str, ...]] = ("uint", "int")
    p: float = 0.7

    def __post_init__(self) -> None:
        if not 0 < self.p < 1:
            raise FewbitsError(f"p of hqq's norm lies between 0 and 1, such as 0.7: {self.p} does not")

    def recipe(self, format: Format) -> Recipe:
        search, count = self._way(format)
        return search.recipe(count=count)

    def fit(self, groups: Float[Tensor, "n k"], format: Format) -> Fit:
        search, count = self._way(format)
        return search.run(groups, format, count)

    def _way(self, format: Format) -> tuple[Search, Count | None]:
        """Where to look at this width, and what errors count."""
        if format.bits < 3:
            return Search(shrinks=PARTS, p=self.p), FEW
        if format.bits < FINE:
            return Search(shrinks=PARTS, lengths=ROUNDS, p=self.p), MANY
        return Search(shrinks=tuple(steps / (format.levels - 1) for steps in STEPS), lengths=ROUNDS), None
