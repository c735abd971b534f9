"""What every peer does: replace the layers of a model's body by its own, so that they can be measured as ours are.

The body is what our plans quantize by default: no embeddings, no output head. GPT-2's Conv1D becomes the nn.Linear that it
computes, since no peer knows it. Bytes are those of the peer's own state dict (see `measure.foreign`).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata, util
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from fewbits.data.names import one_line
from fewbits.errors import FewbitsError
from fewbits.layers import QuantizedConv1D, replacement_for
from fewbits.measure import foreign
from fewbits.roles import kept_by_default


class NotInstalledError(FewbitsError):
    """The peer's library is not installed here."""


@dataclass(frozen=True, kw_only=True)
class Peer(ABC):
    """Another library, with its options as fields."""

    package: ClassVar[str]
    module: ClassVar[str]
    convolutions: ClassVar[bool] = False

    @property
    @abstractmethod
    def label(self) -> str:
        """The options in words, for a row."""

    @property
    def series(self) -> str:
        """The options that the points of one line in a chart share."""
        return self.label

    @property
    @abstractmethod
    def nominal_bits(self) -> int:
        """Bits of a code."""

    @property
    def nominal_group(self) -> int | None:
        """Weights that share a scale along the inputs; 0 for one a channel."""
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of how the library computes."""
        return ()

    @abstractmethod
    def replace(self, model: nn.Module, layers: dict[str, nn.Module], dtype: torch.dtype) -> None:
        """Quantize these layers of the model in place, to compute in `dtype`."""

    def apply(self, model: nn.Module, dtype: torch.dtype) -> float:
        """Quantize the model's body, and return the share of its parameters that was (0..1).

        What is not quantized keeps the dtype that it is stored in: `cast` it when the size has been taken. Raises
        FewbitsError where the library is not installed, cannot run here, or knows none of the model's layers.
        """
        self.check()
        total = sum(p.numel() for p in model.parameters())
        layers = self._layers(model)
        if not layers:
            raise FewbitsError(f"{self.package} quantizes linear layers, and the body of this model has none")
        weights = {name: cast(Tensor, layer.weight).numel() for name, layer in layers.items()}
        try:
            with quiet():
                self.replace(model, layers, dtype)
        except FewbitsError:
            raise
        except Exception as error:  # of any type: it is another library's code
            raise FewbitsError(f"{self.package} cannot quantize this model here: {one_line(error)}") from error
        for name, count in weights.items():
            foreign.mark(model.get_submodule(name), count)
        model.eval()
        return sum(weights.values()) / total

    def check(self) -> str:
        """The version that is installed. Raises NotInstalledError if there is none."""
        if util.find_spec(self.module.partition(".")[0]) is None:
            raise NotInstalledError(f"{self.package} is not installed: pip install 'fewbits[peers]'")
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            raise NotInstalledError(f"{self.package} is not installed: pip install 'fewbits[peers]'") from None

    def _layers(self, model: nn.Module) -> dict[str, nn.Module]:
        kept = kept_by_default(model)
        found: dict[str, nn.Module] = {}
        for name, layer in list(model.named_modules()):
            if name in kept or replacement_for(layer) is None:
                continue
            if replacement_for(layer) is QuantizedConv1D:
                layer = as_linear(layer)
                put(model, name, layer)
            if isinstance(layer, nn.Linear) or (self.convolutions and isinstance(layer, nn.Conv2d)):
                found[name] = layer
        return found


def as_linear(layer: nn.Module) -> nn.Linear:
    """The nn.Linear that computes what a Conv1D does."""
    weight, bias = cast(Tensor, layer.weight), cast(Tensor | None, layer.bias)
    made = nn.Linear(weight.shape[0], weight.shape[1], bias=bias is not None, device="meta")
    made.weight = nn.Parameter(weight.data.T.contiguous(), requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias.data, requires_grad=False)
    return made


def put(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Set a layer of a model by its name."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)


def cast_kept(model: nn.Module, dtype: torch.dtype) -> None:
    """Cast all floats of a model but those that a peer's layers store."""
    for module in model.modules():
        tensors: dict[str, Any] = dict(module.named_buffers(recurse=False))
        tensors |= dict(module.named_parameters(recurse=False))
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and (not foreign.is_foreign(module) or name == "bias"):
                tensor.data = tensor.data.to(dtype)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' warnings, which tell users of a notebook what the rows here tell anyway."""
    import logging
    import warnings

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
