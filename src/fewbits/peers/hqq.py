"""hqq: half-quadratic quantization (Badri and Shaji 2023), as the authors' library does it."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from fewbits.errors import FewbitsError
from fewbits.peers.base import Peer, put

BITS = (8, 6, 5, 4, 3, 2, 1)


@dataclass(frozen=True, kw_only=True)
class Hqq(Peer):
    """`bits`, weights in a `group`, and the `axis` along which they lie (1: inputs). Scales and zero points are float16."""

    package: ClassVar[str] = "hqq"
    module: ClassVar[str] = "hqq"
    bits: int = 4
    group: int = 64
    axis: int = 1

    def __post_init__(self) -> None:
        if self.bits not in BITS:
            raise FewbitsError(f"hqq has no {self.bits} bits: {', '.join(map(str, BITS))}")
        if self.axis not in (0, 1) or self.group < 8 or self.group % 8:
            raise FewbitsError(f"hqq has groups that are multiples of 8 and axis 0 or 1, not {self.group} and {self.axis}")

    @property
    def label(self) -> str:
        return f"{self.bits} bits {self.series}"

    @property
    def series(self) -> str:
        return f"g{self.group}" + (" axis 0" if self.axis == 0 else "")

    @property
    def nominal_bits(self) -> int:
        return self.bits

    @property
    def nominal_group(self) -> int:
        return self.group

    def replace(self, model: nn.Module, layers: dict[str, nn.Module], dtype: torch.dtype) -> None:
        """An HQQLinear for each linear layer: made with float16 scales, as its users have them, then set to compute in `dtype`."""
        library: Any = import_module("hqq.core.quantize")

        for name, layer in layers.items():
            linear = cast(nn.Linear, layer)
            bias, device = linear.bias, linear.weight.device
            config = library.BaseQuantizeConfig(nbits=self.bits, group_size=self.group, axis=self.axis)
            made: Any = library.HQQLinear(linear, config, compute_dtype=torch.float16, device=str(device))
            made.compute_dtype = made.meta["compute_dtype"] = dtype
            made.bias = None if bias is None else _float(bias, dtype)
            put(model, name, made)


def _float(bias: Tensor, dtype: torch.dtype) -> Tensor:
    return bias.data.to(dtype)
