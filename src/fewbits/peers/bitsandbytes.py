"""bitsandbytes: LLM.int8() (Dettmers et al. 2022, arXiv:2208.07339), and FP4 and NF4 of QLoRA (2023, arXiv:2305.14314).

Its own modules, `Linear8bitLt` and `Linear4bit`, hold the weights and do the work.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, cast

import torch
from torch import nn

from fewbits.errors import FewbitsError
from fewbits.peers.base import Peer, put

KINDS = ("int8", "fp4", "nf4")
SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)


@dataclass(frozen=True, kw_only=True)
class BitsAndBytes(Peer):
    """`kind` int8, fp4 or nf4; `double` quantizes the scales too; `group` weights share a scale (4 bits only)."""

    package: ClassVar[str] = "bitsandbytes"
    module: ClassVar[str] = "bitsandbytes"
    kind: str = "nf4"
    double: bool = False
    group: int = 64

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise FewbitsError(f"bitsandbytes has no '{self.kind}': {', '.join(KINDS)}")
        if self.group not in SIZES:
            raise FewbitsError(f"bitsandbytes has no groups of {self.group}: {', '.join(map(str, SIZES))}")
        if self.kind == "int8" and (self.double or self.group != 64):
            raise FewbitsError("bitsandbytes int8 has one scale a channel: 'double' and 'group' go with fp4 and nf4")

    @property
    def label(self) -> str:
        return self.kind + (f" g{self.group}" if self.group != 64 else "") + (" double" if self.double else "")

    @property
    def nominal_bits(self) -> int:
        return 8 if self.kind == "int8" else 4

    @property
    def nominal_group(self) -> int:
        return 0 if self.kind == "int8" else self.group

    @property
    def notes(self) -> tuple[str, ...]:
        if self.kind == "int8":
            return ("bitsandbytes int8 rounds the inputs of its layers to 8 bits too, through float16",)
        return ()

    def replace(self, model: nn.Module, layers: dict[str, nn.Module], dtype: torch.dtype) -> None:
        """A module of the library's for each linear layer, quantized as it is moved to the device."""
        import logging

        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
        for name, layer in layers.items():
            linear = cast(nn.Linear, layer)
            made = self._int8(linear) if self.kind == "int8" else self._4bit(linear, dtype)
            made.bias = linear.bias
            put(model, name, made.to(linear.weight.device).eval().requires_grad_(False))

    def _int8(self, linear: nn.Linear) -> Any:
        bnb: Any = import_module("bitsandbytes")

        made = bnb.nn.Linear8bitLt(*_sizes(linear), has_fp16_weights=False, threshold=6.0, device="meta")
        made.weight = bnb.nn.Int8Params(linear.weight.data.clone(), requires_grad=False, has_fp16_weights=False)
        return made

    def _4bit(self, linear: nn.Linear, dtype: torch.dtype) -> Any:
        bnb: Any = import_module("bitsandbytes")

        how: dict[str, Any] = {"quant_type": self.kind, "compress_statistics": self.double}
        made = bnb.nn.Linear4bit(*_sizes(linear), compute_dtype=dtype, device="meta", **how)
        data = linear.weight.data.clone()
        made.weight = bnb.nn.Params4bit(data, requires_grad=False, blocksize=self.group, module=made, **how)
        return made


def _sizes(linear: nn.Linear) -> tuple[int, int, bool]:
    return linear.in_features, linear.out_features, linear.bias is not None
