"""Why a layer is expensive: heavy tails in its weights, channels far louder than the others, inputs that stand out.

Round-to-nearest spreads its levels from the smallest to the largest weight of a group, so that a few large ones take the
levels from all others; an input that is much louder than the rest makes the same error weigh more (Dettmers et al. 2022,
LLM.int8(), arXiv:2208.07339).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewbits.layers import replacement_for
from fewbits.measure.running import ask, evaluating
from fewbits.search.trial import Trial

LOUD = 3.0  # times the middle channel's root mean square: an outlier
HEAVY = 1.0  # excess kurtosis; the normal distribution has 0, Laplace's 3
ROWS = 4096  # of a layer's inputs that are looked at


@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """Of one layer's weight: its excess kurtosis, its largest value in root mean squares, and channels `LOUD` times the middle
    one, of outputs, of inputs in the weight, and of the inputs that it was seen to get (None for convolutions).
    """

    name: str
    params: int
    kurtosis: float
    peak: float
    outputs: int
    inputs: int
    loud_inputs: int | None
    loudest: float | None

    @property
    def why(self) -> str:
        """In a few words; empty where nothing stands out."""
        said = []
        if self.loud_inputs:
            said.append(f"{self.loud_inputs} loud inputs")
        if self.kurtosis > HEAVY:
            said.append("heavy tails")
        if self.inputs or self.outputs:
            said.append(f"{self.inputs} input and {self.outputs} output channels of large weights")
        return "; ".join(said)


def layer_facts(trial: Trial, inputs: Tensor | None) -> tuple[LayerFacts, ...]:
    """Facts of every layer that is searched, by one pass over some inputs of the original model."""
    trial.apply(trial.space.kept())
    names = [name for unit in trial.space.units for name in unit.layers]
    loud = {} if inputs is None else _input_loudness(trial, names, inputs)
    return tuple(_facts(trial, name, loud.get(name)) for name in names)


def _facts(trial: Trial, name: str, loud: Float[Tensor, " i"] | None) -> LayerFacts:
    layer = trial.layer(name)
    kind = replacement_for(layer)
    matrix = (trial.original(name) if kind is None else kind.matrix_of(layer)).detach().flatten(1).double()
    centred = matrix - matrix.mean()
    spread = centred.square().mean()
    kurtosis = (centred**4).mean() / spread.clamp(min=1e-30) ** 2 - 3
    return LayerFacts(
        name=name,
        params=matrix.numel(),
        kurtosis=float(kurtosis),
        peak=float(matrix.abs().max() / matrix.square().mean().sqrt().clamp(min=1e-30)),
        outputs=_outliers(matrix.square().mean(dim=1).sqrt()),
        inputs=_outliers(matrix.square().mean(dim=0).sqrt()),
        loud_inputs=None if loud is None else _outliers(loud),
        loudest=None if loud is None else float(loud.max() / loud.median().clamp(min=1e-30)),
    )


def _outliers(loudness: Float[Tensor, " n"]) -> int:
    return int((loudness > LOUD * loudness.median()).sum())


def _input_loudness(trial: Trial, names: Sequence[str], inputs: Tensor) -> dict[str, Float[Tensor, " i"]]:
    """The root mean square of each input channel of linear layers."""
    found: dict[str, Tensor] = {}
    hooks = []
    for name in names:
        kind = replacement_for(trial.layer(name))
        if kind is not None and kind.takes_a8:

            def note(_: nn.Module, args: tuple[Tensor, ...], name: str = name) -> None:
                rows = args[0].detach().reshape(-1, args[0].shape[-1])[:ROWS]
                found.setdefault(name, rows.double().square().mean(dim=0).sqrt())

            hooks.append(trial.layer(name).register_forward_pre_hook(note))
    try:
        with evaluating(trial.model), torch.no_grad():
            ask(trial.model, inputs[:16])
    finally:
        for hook in hooks:
            hook.remove()
    return found
