"""The cheap sensitivity: one forward and backward pass tells what every scheme costs in every layer, to second order.

With g = d log q(y) / dW for an answer y drawn from the model itself and E the error that the quantizer leaves in W,

    loss(E) ~ 1/2 E[ <g, E>^2 ]

This is the Fisher information along the actual error, with all correlations among a layer's weights; its diagonal, squared
gradients times squared errors, leaves them out (Dong et al. 2019, HAWQ, arXiv:1905.03696, has the Hessian's trace instead).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits.progress import track
from fewbits.search.objective import Objective
from fewbits.search.space import Unit
from fewbits.search.store import Store
from fewbits.search.trial import Trial

MOST_BYTES = 1 << 30  # of gradients in memory, in bf16: their rounding errors average out
CHUNK = 1 << 17  # weights whose gradients are turned into f32 at a time


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Estimated loss a row, by unit and option (ragged): along the error (`along`), and from the diagonal alone."""

    along: tuple[tuple[float, ...], ...]
    diagonal: tuple[tuple[float, ...], ...]


def fisher_scores(trial: Trial, objective: Objective, store: Store, *, most: int) -> Scores:
    """Scores of every option of every unit, from at most `most` pseudo-losses of the original model."""
    count = min(most, objective.samples())
    params = sum(unit.params for unit in trial.space.units)
    step = max(1, min(count, MOST_BYTES // (2 * params)))
    sums: list[list[list[float]]] = []
    rows = 0
    trial.apply(trial.space.kept())
    parts = [(start, min(start + step, count)) for start in range(0, count, step)]
    for start, stop in track(parts, "gradients", unit="part"):
        key = f"fisher {objective.digest} {start} {stop} {_names(trial)}"
        found = store.get(key, lambda start=start, stop=stop: _part(trial, objective, start, stop))
        rows += found["rows"]
        sums = found["sums"] if not sums else _add(sums, found["sums"])
    along, diagonal = ([[0.5 * pair[which] / rows for pair in unit] for unit in sums] for which in (0, 1))
    return Scores(along=tuple(map(tuple, along)), diagonal=tuple(map(tuple, diagonal)))


def _part(trial: Trial, objective: Objective, start: int, stop: int) -> dict[str, object]:
    """Sums over some pseudo-losses: for each unit and option [<g, E>^2, <g^2, E^2>]."""
    names = [name for unit in trial.space.units for name in unit.layers]
    gradients, rows = _gradients(trial, objective, names, start, stop)
    found = [[*_unit_scores(trial, unit, gradients), [0.0, 0.0]] for unit in track(trial.space.units, "scoring", unit="layer")]
    return {"rows": rows, "sums": found}


def _unit_scores(trial: Trial, unit: Unit, gradients: dict[str, Tensor]) -> list[list[float]]:
    """The sums for every option of a unit but the last, which keeps the layer."""
    options = range(len(unit.options) - 1)
    device = trial.weight(unit.layers[0]).device
    along, squares = torch.zeros(1, device=device), torch.zeros(1, device=device)
    for name in unit.layers:
        errors = torch.stack([trial.error(name, unit, option).reshape(-1) for option in options])
        for first in range(0, errors.shape[1], CHUNK):
            part = gradients[name][:, first : first + CHUNK].float()
            error = errors[:, first : first + CHUNK]
            along = along + part @ error.T
            squares = squares + part.square_().sum(dim=0) @ error.square().T
    return [list(pair) for pair in zip(along.double().square().sum(dim=0).tolist(), squares.tolist(), strict=True)]


def _gradients(
    trial: Trial, objective: Objective, names: list[str], start: int, stop: int
) -> tuple[dict[str, Float[Tensor, "samples params"]], int]:
    """The gradients of each pseudo-loss at every layer's weight, flat; and the rows that they stand for."""
    weights = [trial.weight(name) for name in names]
    found = {
        name: torch.empty(stop - start, w.numel(), dtype=torch.bfloat16, device=w.device)
        for name, w in zip(names, weights, strict=True)
    }
    rows = 0
    for weight in weights:
        weight.requires_grad_(True)
    try:
        for at in track(range(start, stop), "backward", unit="sample"):
            loss, count = objective.pseudo_loss(trial.model, at)
            rows += count
            for name, gradient in zip(names, torch.autograd.grad(loss, weights, allow_unused=True), strict=True):
                found[name][at - start] = 0 if gradient is None else gradient.reshape(-1)
    finally:
        for weight in weights:
            weight.requires_grad_(False)
    return found, rows


def _add(left: list[list[list[float]]], right: list[list[list[float]]]) -> list[list[list[float]]]:
    return [
        [[a + b for a, b in zip(p, q, strict=True)] for p, q in zip(u, v, strict=True)]
        for u, v in zip(left, right, strict=True)
    ]


def _names(trial: Trial) -> str:
    """What the scores belong to: every unit with its options."""
    return " ".join(f"{unit.name}:{','.join(map(str, unit.options))}" for unit in trial.space.units)
