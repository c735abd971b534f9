"""optimum-quanto: `quantize` and `freeze`, linear layers and convolutions, scales by the largest weight (symmetric at 8 bits)."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import nn

from fewbits.errors import FewbitsError
from fewbits.peers.base import Peer

KINDS = ("qint8", "qint4", "qint2", "qfloat8")


@dataclass(frozen=True, kw_only=True)
class OptimumQuanto(Peer):
    """`kind` qint8 (a scale a channel), qint4 or qint2 (groups of 128 where they divide, else the next that does), qfloat8."""

    package: ClassVar[str] = "optimum-quanto"
    module: ClassVar[str] = "optimum"
    convolutions: ClassVar[bool] = True
    kind: str = "qint8"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise FewbitsError(f"optimum-quanto has no '{self.kind}': {', '.join(KINDS)}")

    @property
    def label(self) -> str:
        return self.kind

    @property
    def series(self) -> str:
        return ""

    @property
    def nominal_bits(self) -> int:
        return {"qint4": 4, "qint2": 2}.get(self.kind, 8)

    @property
    def nominal_group(self) -> int:
        return 128 if self.kind in ("qint4", "qint2") else 0

    @property
    def notes(self) -> tuple[str, ...]:
        return ("optimum-quanto holds its scales in the dtype that it computes in",)

    def replace(self, model: nn.Module, layers: dict[str, nn.Module], dtype: torch.dtype) -> None:
        """Its own `quantize` on the body; its tensors cannot be cast later, so the layers are before."""
        quanto: Any = import_module("optimum.quanto")

        for layer in layers.values():
            layer.to(dtype)
        quanto.quantize(model, weights=getattr(quanto, self.kind), include=list(layers))
        quanto.freeze(model)
