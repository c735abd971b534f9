"""Absolute maximum: each group is scaled so that its largest weight meets the largest value of the codebook.

scale = max|w| / max|codebook|       Dettmers et al. 2023, QLoRA, arXiv:2305.14314, section 2
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from fewbits.codebooks import codebook_of
from fewbits.formats import Format
from fewbits.methods.base import Fit, Method
from fewbits.solvers import Recipe


@dataclass(frozen=True, kw_only=True)
class AbsoluteMaximum(Method):
    """What bitsandbytes does for NF4 and FP4."""

    kinds: ClassVar[tuple[str, ...]] = ("nf", "fp")

    def recipe(self, format: Format) -> Recipe:
        return Recipe()

    def fit(self, groups: Float[Tensor, "n k"], format: Format) -> Fit:
        most = codebook_of(format, groups.device).nan_to_num(0).abs().max()
        return Fit(scale=groups.abs().amax(dim=1) / most)
