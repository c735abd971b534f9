"""torchao: `quantize_` with its weight-only configurations. Below 8 bits it stores a byte for each code on a CPU."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import nn

from fewbits.errors import FewbitsError
from fewbits.peers.base import Peer


@dataclass(frozen=True, kw_only=True)
class TorchAo(Peer):
    """`bits` 8 to 2 and a `group` along the inputs (0: one scale a channel); `symmetric`, else with an integer zero point."""

    package: ClassVar[str] = "torchao"
    module: ClassVar[str] = "torchao"
    bits: int = 8
    group: int = 0
    symmetric: bool = True

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise FewbitsError(f"torchao has no {self.bits} bits: 2 to 8")
        if self.group < 0:
            raise FewbitsError(f"a group of {self.group} makes no sense: 0 is one scale a channel")

    @property
    def label(self) -> str:
        return f"int{self.bits} {self.series}".strip()

    @property
    def series(self) -> str:
        return (f"g{self.group}" if self.group else "") + ("" if self.symmetric else " asymmetric")

    @property
    def nominal_bits(self) -> int:
        return self.bits

    @property
    def nominal_group(self) -> int:
        return self.group

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self.bits == 8 else ("torchao stores a byte for each code on a CPU: fewer bits save nothing there",)

    def replace(self, model: nn.Module, layers: dict[str, nn.Module], dtype: torch.dtype) -> None:
        """Its own `quantize_` on the body; its tensors compute in the dtype that they were made of."""
        library: Any = import_module("torchao.quantization")

        names = set(layers)
        for layer in layers.values():
            layer.to(dtype)
        library.quantize_(model, self._config(), filter_fn=lambda _, name: name in names)

    def _config(self) -> Any:
        library: Any = import_module("torchao.quantization")
        mapping = import_module("torchao.quantization.quant_primitives").MappingType

        if self.bits == 8 and not self.group and self.symmetric:
            return library.Int8WeightOnlyConfig()
        return library.IntxWeightOnlyConfig(
            weight_dtype=getattr(torch, f"int{self.bits}"),
            granularity=library.PerGroup(self.group) if self.group else library.PerAxis(0),
            mapping_type=mapping.SYMMETRIC if self.symmetric else mapping.ASYMMETRIC,
        )
