"""A working copy of a model in which any unit can take any of its options in a moment."""

import copy
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewbits.activations import round_rows
from fewbits.layers import replacement_for
from fewbits.scheme import Scheme
from fewbits.search.objective import Objective
from fewbits.search.prefix import Prefix
from fewbits.search.space import Space, Unit
from fewbits.tensor import QuantizedTensor

MOST_BYTES = 4 << 30  # of quantized weights that are kept for the next time


class Trial:
    """The model in float32, its weights replaced by what the chosen schemes make of them: no quantized layers, no kernels.

    Every weight comes from the actual quantizer; what it made is kept packed.
    """

    def __init__(self, model: nn.Module, space: Space) -> None:
        self.space = space
        self.model = copy.deepcopy(model).float().eval().requires_grad_(False)
        names = [name for unit in space.units for name in unit.layers]
        self._stored = {name: model.get_submodule(name) for name in names}
        self._layers = {name: self.model.get_submodule(name) for name in names}
        self._original = {name: self.weight(name).data.clone() for name in names}
        self._packed: dict[tuple[str, str], QuantizedTensor] = {}
        self._kept_bytes = 0
        self.choice = space.kept()
        self._hooks: dict[str, torch.utils.hooks.RemovableHandle] = {}
        self._fix_rules(model)

    def _fix_rules(self, model: nn.Module) -> None:
        """Layers that the user's rules quantize are quantized here too."""
        if not any(rule.scheme for rule in self.space.rules):
            return
        from fewbits.apply import resolve
        from fewbits.plan import Plan

        for d in resolve(model, Plan(rules=self.space.rules)).decisions:
            if d.scheme is not None and d.tied_to is None and d.name not in self._layers:
                layer, stored = self.model.get_submodule(d.name), model.get_submodule(d.name)
                cast(Tensor, layer.weight).data.copy_(_dequantized(stored, d.scheme.quantize(_matrix(stored))))

    def weight(self, name: str) -> nn.Parameter:
        """The parameter of a layer in the working copy."""
        return cast(nn.Parameter, self._layers[name].weight)

    def layer(self, name: str) -> nn.Module:
        return self._layers[name]

    def apply(self, choice: Sequence[int]) -> None:
        """Give every unit what is chosen; only what differs from before is touched."""
        for unit, old, new in zip(self.space.units, self.choice, choice, strict=True):
            if old != new:
                self._set(unit, new)
        self.choice = tuple(choice)

    def error(self, name: str, unit: Unit, option: int) -> Float[Tensor, "..."]:
        """What an option adds to the original weight of a layer."""
        return self._value(name, unit.options[option].scheme) - self._original[name]

    def original(self, name: str) -> Float[Tensor, "..."]:
        return self._original[name]

    def loss(self, objective: Objective, prefix: Prefix | None = None, start: int = 0) -> Float[Tensor, " n"]:
        """The loss of every row of the objective's data under the present choice."""
        with torch.no_grad():
            if prefix is None:
                return torch.cat([objective.loss(self.model, i) for i in range(len(objective.batches))])
            found = []
            for i in range(len(objective.batches)):
                with prefix.skipping(start, i):
                    found.append(objective.loss(self.model, i))
            return torch.cat(found)

    def _set(self, unit: Unit, option: int) -> None:
        scheme = unit.options[option].scheme
        for name in unit.layers:
            self.weight(name).data.copy_(self._value(name, scheme))
            if hook := self._hooks.pop(name, None):
                hook.remove()
            if scheme is not None and scheme.format.activation_bits:
                self._hooks[name] = self._layers[name].register_forward_pre_hook(lambda _, x: (round_rows(x[0]), *x[1:]))

    def _value(self, name: str, scheme: Scheme | None) -> Float[Tensor, "..."]:
        if scheme is None:
            return self._original[name]
        return _dequantized(self._stored[name], self._quantized(name, scheme))

    def _quantized(self, name: str, scheme: Scheme) -> QuantizedTensor:
        key = (name, str(scheme))
        if key not in self._packed:
            made = scheme.quantize(_matrix(self._stored[name]))
            if self._kept_bytes + made.nbytes > MOST_BYTES:
                return made
            self._kept_bytes += made.nbytes
            self._packed[key] = made
        return self._packed[key]


def _matrix(layer: nn.Module) -> Float[Tensor, "out ..."]:
    kind = replacement_for(layer)
    if kind is None:
        raise TypeError(f"{type(layer).__name__} cannot be quantized")
    return kind.matrix_of(layer)


def _dequantized(layer: nn.Module, quantized: QuantizedTensor) -> Float[Tensor, "..."]:
    """As the layer holds its weight: outputs first, but in GPT-2's Conv1D."""
    value = quantized.dequantize()
    return value if value.shape == cast(Tensor, layer.weight).shape and not _inputs_first(layer) else value.T


def _inputs_first(layer: nn.Module) -> bool:
    return type(layer).__name__ == "Conv1D"
