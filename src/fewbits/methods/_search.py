"""Search for the grid of each group, many groups at once.

A search begins with the grid that spans its group, as round-to-nearest has it, and shorter ones about the same middle. It goes on
in rounds: the best so far with either end moved in and out by a part of a step, and, from the second on, the closed form for
its codes. Every grid is tried *as it will be stored*, scale and zero point rounded to their type, and kept only if it is better:
no group ends worse than it began.

    e_i  = code_i - (w_i / scale + zero)      the error of a weight, in steps
    loss = scale**2 sum_i weight_i e_i**2     what is made small
    norm = scale**p sum_i |e_i|**p            p < 1; where a p is given, no grid is taken that raises it above the beginning's

The closed form is the half-quadratic step of Badri and Shaji 2023 (mobiusml.github.io/hqq_blog): a generalised soft threshold
takes from the errors what is large, as if it were the weights' own, and least squares fit the grid to the rest. There it finds
the zero point alone; here the scale too, and the threshold is in steps, so that the magnitude of the weights does not matter.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits import solvers
from fewbits.formats import Format
from fewbits.methods._grids import Grid, Grids
from fewbits.methods._scales import Fit
from fewbits.methods.base import SAMPLE

THRESHOLD = 0.5  # steps: rounding errs by no more, so what is above was clipped
NARROW = 32  # smaller groups are laid out across memory: rows of 8 weights would take five times as long
WHOLE = 4.0  # steps of a grid from which on its ends move by their whole length: those of one bit would meet
PASSES = 3  # for a whole tensor, whose best grid lies far from its ends; it costs little, for a sample is searched
SURE = 0.995  # a sample of 2**18 values or more tells losses apart that differ by half a per cent


@dataclass(frozen=True, kw_only=True)
class Search:
    """Where to look, and the norm that may not rise.

    `shrinks`: parts of its length that the first grid is shortened by. `lengths`: how far the ends then move in each round, in
    steps. `p`: of the norm; None for none, and for plain least squares.
    """

    shrinks: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3)
    lengths: tuple[float, ...] = (0.6, 0.4, 0.25)
    p: float | None = None

    def run(self, groups: Float[Tensor, "n k"], format: Format, count: solvers.Count | None = None) -> Fit:
        """The best grid found for each group. `count`: what each error counts; without it all the same."""
        grids = Grids(format)
        start = grids.begin(groups)
        scale, zero = grids.of_fit(start)
        if not bool((torch.isfinite(scale) & torch.isfinite(zero)).all()):
            return start  # cannot be stored: refused by whoever stores it
        weights = None if count is None else count.of(groups)
        trial = _Trial(groups, grids, weights, self.p, (scale, zero), most=max(5, len(self.shrinks)))
        for _ in range(PASSES if format.granularity == "tensor" else 1):
            trial.take(trial.shrunk(self.shrinks))
            trial.take(trial.moved(self.lengths[0]))
            for length in self.lengths[1:]:
                trial.take(trial.moved(length), trial.closed_form())
        return grids.to_fit(trial.scale.masked_fill(start.scale == 0, 0), trial.zero)

    def recipe(self, *, count: solvers.Count | None = None) -> solvers.Recipe:
        """The same for solvers that begin by themselves. `count`: what errors count; without it all the same."""
        return solvers.Recipe(
            shrinks=self.shrinks,
            lengths=self.lengths,
            p=self.p or 0.0,
            whole=WHOLE,
            threshold=THRESHOLD,
            count=count,
        )


class _Trial:
    """Groups, the best grid of each so far, and scratch tensors: new memory for each step would cost half the time.

    All grids of a step are tried together. The fewer and longer the operators are, the less do threads wait for each other.
    """

    def __init__(self, groups: Tensor, grids: Grids, weights: Tensor | None, p: float | None, start: Grid, most: int) -> None:
        self.groups, self.weights = across(groups), None if weights is None else across(weights)
        self.grids, self.p = grids, p
        self.at, self.error = self.scratch(most), self.scratch(most)
        (self.scale, self.zero), self.first = start, start[0]
        sure = SURE if grids.format.granularity == "tensor" and groups.numel() > SAMPLE // 4 else 1.0
        self.loss = self.losses(self.scale[None], self.zero[None])[0] * sure
        self.ceiling = self.norm(self.scale, self.zero) * sure

    def scratch(self, count: int) -> Float[Tensor, "c n k"]:
        """Room for something about each weight and `count` grids, laid out as the weights are."""
        n, k = self.groups.shape
        return self.groups.new_empty(count, k, n).mT if k < NARROW else self.groups.new_empty(count, n, k)

    def losses(self, scale: Float[Tensor, "c n"], zero: Float[Tensor, "c n"]) -> Float[Tensor, "c n"]:
        """Loss of c grids for each group, over the square of its first scale."""
        at, error = self.place(scale, zero)
        return self.total(error.mul_(error), at) * (scale / self.first) ** 2

    def norm(self, scale: Float[Tensor, " n"], zero: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The lp norm to the power p of one grid for each group, over that power of its first scale; 0 without a p."""
        if self.p is None:
            return torch.zeros_like(scale)
        _, error = self.place(scale[None], zero[None])
        return row_sums(error.abs_().log_().mul_(self.p).exp_())[0] * (scale / self.first) ** self.p

    def place(self, scale: Float[Tensor, "c n"], zero: Float[Tensor, "c n"]) -> tuple[Tensor, Tensor]:
        """Position of each weight on c grids, in steps, and its error there."""
        at, error = self.at[: len(scale)], self.error[: len(scale)]
        torch.mul(self.groups, scale.reciprocal().unsqueeze(2), out=at).add_(zero.unsqueeze(2))
        return at, self.grids.snap(at, out=error).sub_(at)

    def total(self, values: Float[Tensor, "c n k"], work: Float[Tensor, "c n k"]) -> Float[Tensor, "c n"]:
        """Sum over each group, each weight's value as often as it counts; `work` is written to."""
        return row_sums(values if self.weights is None else torch.mul(values, self.weights, out=work))

    def take(self, *tried: Grid) -> None:
        """Keep of some grids (scale and low) the best, where it is better than what there is."""
        scale, low = (torch.cat(parts) for parts in zip(*tried, strict=True))
        scale, zero = self.grids.stored(scale, low)
        loss, which = self.losses(scale, zero).nan_to_num_(nan=torch.inf, posinf=torch.inf).min(dim=0, keepdim=True)
        loss, scale, zero = loss[0], scale.gather(0, which)[0], zero.gather(0, which)[0]
        better = (loss < self.loss) & (self.norm(scale, zero) <= self.ceiling)
        self.loss = loss.where(better, self.loss)
        self.scale, self.zero = scale.where(better, self.scale), zero.where(better, self.zero)

    def shrunk(self, parts: tuple[float, ...]) -> Grid:
        """The best grid made shorter by parts of its length, about its middle."""
        steps = self.scale.new_tensor(parts)[:, None] * self.grids.steps
        return self.drawn_in(steps / 2, steps / 2)

    def moved(self, length: float) -> Grid:
        """The best grid with one of its ends moved in or out by a number of steps."""
        length *= min(1.0, self.grids.steps / WHOLE)
        moves = self.scale.new_tensor([[length], [-length]])
        if not self.grids.format.has_zero:  # its ends move together
            return self.drawn_in(torch.cat([moves, 2 * moves]), moves.new_zeros(()))
        still = torch.zeros_like(moves)
        return self.drawn_in(torch.cat([moves, still]), torch.cat([still, moves]))

    def drawn_in(self, first: Float[Tensor, "c 1"], last: Float[Tensor, "..."]) -> Grid:
        """The best grid with its ends moved towards each other by numbers of steps."""
        return self.scale * (1 - (first + last) / self.grids.steps), (first - self.zero) * self.scale

    def closed_form(self) -> Grid:
        """The grid of least loss for the codes of the best, once the large errors are left out.

        For those codes the error is error - a * value - b with another grid: scale * (1 - a), zero + b before it is shrunk.
        """
        at, error = self.place(self.scale[None], self.zero[None])
        value, work = at.add_(error), self.error[1:2]  # the value is what the code stands for
        if self.p is not None:
            keep_small(error, self.p, work)
        if self.grids.slides:
            a, b = self.line(error, value, work)
        else:
            a, b = self.slope(error, value.sub_(self.zero[:, None]), work), 0.0
        return (self.scale * (1 - a)).view(1, -1), (-(self.zero + b) * self.scale).view(1, -1)

    def line(self, error: Tensor, value: Tensor, work: Tensor) -> tuple[Tensor, Tensor]:
        """Slope and intercept of the errors over the values, by weighted least squares; level where all codes are one."""
        count = self.total(torch.ones_like(value), work)
        mean_v, mean_e = self.total(value, work) / count, self.total(error, work) / count
        covariance = self.total(error.mul_(value), work) / count - mean_v * mean_e
        slope = _clipped(covariance, self.total(value.mul_(value), work) / count - mean_v**2)
        return slope, mean_e - slope * mean_v

    def slope(self, error: Tensor, value: Tensor, work: Tensor) -> Tensor:
        """Slope of the errors over the values through the origin."""
        return _clipped(self.total(error.mul_(value), work), self.total(value.mul_(value), work))


def keep_small(error: Float[Tensor, "c n k"], p: float, work: Float[Tensor, "c n k"]) -> None:
    """Take from the errors their generalised soft threshold: left is min(|e|, t**(2 - p) |e|**(p - 1)), with the sign of e.

    An error above the threshold t is one that the lp norm cares little about: it counts the less, the larger it is.
    """
    torch.abs(error, out=work).clamp_(min=THRESHOLD).log_().mul_(p - 1).exp_().mul_(THRESHOLD ** (2 - p))
    torch.minimum(work, error, out=error)
    torch.maximum(work.neg_(), error, out=error)


def _clipped(covariance: Tensor, variance: Tensor) -> Tensor:
    """Their quotient, no larger than a half either way: 0 where all codes are one."""
    varies = variance > 1e-6
    return (covariance / variance.where(varies, torch.ones_like(variance))).where(varies, 0).clamp_(-0.5, 0.5)


def across(groups: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """The same values, one group after the other in memory; small groups side by side."""
    return groups.T.contiguous().T if groups.shape[1] < NARROW else groups.contiguous()


def row_sums(x: Float[Tensor, "c n k"]) -> Float[Tensor, "c n"]:
    """Sum of each row, the same to the last bit whatever the number of rows."""
    if x.shape[2] >= NARROW:
        return x.sum(dim=2)
    total = x[..., 0].clone()
    for column in x.unbind(2)[1:]:
        total += column
    return total
