"""Computing in a wider dtype than the weights are stored in, without a wider copy of the model.

`model.to(torch.float32)` doubles a bfloat16 model in memory. Here its large tensors stay as they are stored, and each is cast
when its module runs, so that one module's weights at a time are wide. A cast to a wider dtype is exact, so the results are
those of the cast model. Rows of an embedding are cast after they are looked up, and a very large linear layer, such as an
output head, is computed in slices of its outputs.

The modules become instances of a subclass whose large parameters are read-only properties in the wider dtype.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewbits.layers import QuantizedLayer

LARGE = 1 << 16  # elements; a smaller tensor is cast for good
SLICE = 1 << 25  # elements of a linear layer's weight that are cast at a time: 128 MiB of float32


def compute_in(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Let a model compute in a dtype. Large tensors of narrower dtypes are cast when they are used, all others now.

    The model can be run and measured afterwards; its state dict lacks the large tensors.
    """
    for module in [m for m in model.modules() if not isinstance(m, QuantizedLayer)]:
        large = tuple(name for name, p in module._parameters.items() if p is not None and _is_held(p, dtype))
        if large and not isinstance(module, _Widened):
            _widen(module, large, dtype)
    return model.to(dtype)


def _is_held(parameter: Tensor, dtype: torch.dtype) -> bool:
    narrower = parameter.is_floating_point() and parameter.element_size() < dtype.itemsize
    return narrower and parameter.numel() >= LARGE and type(parameter) is nn.Parameter


def _widen(module: nn.Module, names: tuple[str, ...], dtype: torch.dtype) -> None:
    stored = {}
    for name in names:
        parameter = module._parameters.pop(name)
        if parameter is not None:
            stored[name] = parameter.detach()
    module.__dict__.update(_stored=stored, _wide=dtype, _live=None)
    module.__class__ = _subclass(type(module), names)


class _Widened:
    """What the subclasses share. `_live` holds the wide tensors while the module runs, so that each is made once a run."""

    _stored: dict[str, Tensor]
    _wide: torch.dtype
    _live: dict[str, Tensor] | None

    def _get(self, name: str) -> Tensor:
        if self._live is None:
            return self._stored[name].to(self._wide)
        if name not in self._live:
            self._live[name] = self._stored[name].to(self._wide)
        return self._live[name]


@cache
def _subclass(kind: type[nn.Module], names: tuple[str, ...]) -> type[nn.Module]:
    """A module of this kind whose parameters of these names are held as they are stored."""
    members: dict[str, Any] = {name: property(lambda self, name=name: self._get(name)) for name in names}
    if kind.forward is nn.Linear.forward and names == ("weight",):
        members["forward"] = _linear
    elif kind.forward is nn.Embedding.forward:
        members["forward"] = _embedding
    elif issubclass(kind, nn.Embedding) and "ScaledWordEmbedding" in kind.__name__:
        members["forward"] = _looked_up(kind)
    else:
        members["forward"] = _whole(kind)
    made: Any = type(kind.__name__, (_Widened, kind), {"__module__": kind.__module__, **members})
    return made


def _linear(self: Any, input: Tensor) -> Tensor:
    """`nn.Linear`, in slices of its outputs where the weight is very large."""
    weight, bias = self._stored["weight"], self.bias
    rows = max(1, SLICE // weight.shape[1])
    if weight.shape[0] <= rows:
        return F.linear(input, weight.to(self._wide), bias)
    output = input.new_empty(*input.shape[:-1], weight.shape[0], dtype=self._wide)
    for start in range(0, weight.shape[0], rows):
        part = slice(start, start + rows)
        output[..., part] = F.linear(input, weight[part].to(self._wide), None if bias is None else bias[part])
    return output


def _embedding(self: Any, input: Tensor) -> Tensor:
    """`nn.Embedding`: rows are looked up as they are stored, then cast."""
    if self.max_norm is not None:
        return nn.Embedding.forward(self, input)
    return F.embedding(input, self._stored["weight"]).to(self._wide)


def _looked_up(kind: type[nn.Module]) -> Any:
    """An embedding that scales what `nn.Embedding` gives: it sees a table of the rows that it is asked for."""

    def forward(self: Any, input_ids: Tensor) -> Tensor:
        asked, index = input_ids.unique(return_inverse=True)
        self._live = {"weight": self._stored["weight"][asked].to(self._wide)}
        try:
            return kind.forward(self, index)
        finally:
            self._live = None

    return forward


def _whole(kind: type[nn.Module]) -> Any:
    """Any other module: its large tensors are wide while it runs."""

    def forward(self: Any, *args: Any, **options: Any) -> Any:
        self._live = {}
        try:
            return kind.forward(self, *args, **options)
        finally:
            self._live = None

    return forward
