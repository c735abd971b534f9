"""Grids: what a scale and a zero point mean in each kind of format, for the methods that search.

A weight w lies at w / scale + zero, in steps, and is snapped there to the nearest value that a code stands for: a whole number,
or a value of the codebook (whose zero is 0). `low` is the weight that code 0 stands for: a scale and a low place a grid whose
zero point is yet to be rounded.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits import solvers
from fewbits.codebooks import codebook_of
from fewbits.formats import Format
from fewbits.meta import FLOATS
from fewbits.methods._affine import fit_range
from fewbits.methods._scales import LEAST_F16, Fit
from fewbits.methods.base import nearest
from fewbits.solvers import Book, Recipe

Grid = tuple[Tensor, Tensor]  # scale and zero, or scale and low, of one shape


@dataclass(frozen=True)
class Grids:
    """All grids of one format."""

    format: Format

    @property
    def steps(self) -> float:
        """Length of a grid in steps; a codebook counts as one of four bits, whatever its values."""
        return 15.0 if self.format.is_codebook else self.format.levels - 1.0

    @property
    def slides(self) -> bool:
        """Whether the zero point is free, so that a grid can be shifted and not only stretched."""
        return self.format.has_zero and not self.format.integer_zero

    def begin(self, groups: Float[Tensor, "n k"]) -> Fit:
        """The grid that spans all of each group: what `rtn` and `absmax` do."""
        if not self.format.is_codebook:
            return fit_range(groups.amin(dim=1), groups.amax(dim=1), self.format)
        most = codebook_of(self.format, groups.device).nan_to_num(0).abs().max()
        return Fit(scale=groups.abs().amax(dim=1) / most)

    def of_fit(self, fit: Fit) -> Grid:
        """Scale and zero point as they will be read back; the zero of codebooks is 0, of symmetric formats the middle code."""
        scale = self._stored_scale(fit.scale)
        return scale, self._implied_zero(scale) if fit.zero is None else self._rounded(fit.zero)

    def to_fit(self, scale: Float[Tensor, " n"], zero: Float[Tensor, " n"]) -> Fit:
        """Undo `of_fit`."""
        return Fit(scale=scale, zero=zero if self.format.has_zero else None)

    def stored(self, scale: Float[Tensor, "c n"], low: Float[Tensor, "c n"]) -> Grid:
        """Scale and zero point as they will be read back, where `low` may be met with the scale as stored."""
        scale = self._stored_scale(scale)
        if not self.format.has_zero:
            return scale, self._implied_zero(scale)
        if self.format.integer_zero:
            return scale, (-low / scale).round_().clamp_(0, self.steps)
        return scale, self._rounded(-low / scale)

    @property
    def least(self) -> float:
        """The smallest scale."""
        return LEAST_F16 if self.format.meta == "f16" else 2.0**-126

    @property
    def implied_zero(self) -> float:
        """The zero point of formats that store none."""
        return 0.0 if self.format.has_zero or self.format.is_codebook else self.format.implicit_zero

    @property
    def book(self) -> Book | None:
        """The codebook, if there is one and it is small."""
        return Book.of(codebook_of(self.format, torch.device("cpu"))) if self.format.is_codebook else None

    def asked(self, recipe: Recipe) -> "solvers.Grids":
        """How the compiled solvers are asked for a search of these grids."""
        return recipe.grids(
            steps=self.steps,
            implied_zero=self.implied_zero,
            least=self.least,
            meta=self.format.meta,
            has_zero=self.format.has_zero,
            integer_zero=self.format.integer_zero,
            book=self.book,
        )

    def _stored_scale(self, scale: Tensor) -> Tensor:
        return self._rounded(scale.clamp(min=self.least))

    def _implied_zero(self, scale: Tensor) -> Tensor:
        return torch.full_like(scale, self.implied_zero)

    def _rounded(self, values: Tensor) -> Tensor:
        """To the type of scales and zero points. Under /q8 that depends on other groups, so it is left out."""
        return values.to(FLOATS.get(self.format.meta, torch.float32)).float()

    def snap(self, at: Float[Tensor, "c n k"], out: Float[Tensor, "c n k"]) -> Float[Tensor, "c n k"]:
        """The nearest value to each position, written to `out`."""
        if not self.format.is_codebook:
            return torch.round(at, out=out).clamp_(0, self.steps)
        codes = nearest(self.format, at).reshape(-1).int()
        return out.copy_(codebook_of(self.format, at.device).index_select(0, codes).view(at.shape))
