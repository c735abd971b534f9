"""bitsandbytes and hqq: a linear layer of theirs, as their users call it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn


def sides(peers: Sequence[str], case: Any, x: torch.Tensor) -> Iterator[tuple[str, int, list[Callable[[], object]]]]:
    """Name, bytes of a weight, and a function for each copy."""
    size = case.rows * case.cols
    if "bnb" in peers:
        yield runs(case, x, "bitsandbytes nf4 b64", size // 2 + size // 64 * 4, four_bits)
        yield runs(case, x, "bitsandbytes int8", size, eight_bits)
    if "hqq" in peers:
        yield runs(case, x, "hqq 4 bits g64", size // 2 + size // 64 * 8, hqq)


def runs(case: Any, x: torch.Tensor, name: str, nbytes: int, make: Any) -> tuple[str, int, list[Callable[[], object]]]:
    """A few copies: these layers take so long that no cache helps them."""
    layers = [make(nn.Linear(case.cols, case.rows, bias=False)) for _ in range(min(8, case.copies(nbytes)))]
    return name, nbytes, [lambda layer=layer: layer(x) for layer in layers]


def four_bits(layer: nn.Linear) -> nn.Module:
    import bitsandbytes as bnb

    out = bnb.nn.Linear4bit(layer.in_features, layer.out_features, bias=False, quant_type="nf4", compute_dtype=torch.float32)
    out.load_state_dict(layer.state_dict())
    return out.to("cpu")


def eight_bits(layer: nn.Linear) -> nn.Module:
    import bitsandbytes as bnb

    out = bnb.nn.Linear8bitLt(layer.in_features, layer.out_features, bias=False, has_fp16_weights=False)
    out.load_state_dict(layer.state_dict())
    return out.to("cpu")


def hqq(layer: nn.Linear) -> nn.Module:
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear

    return HQQLinear(layer, BaseQuantizeConfig(nbits=4, group_size=64, axis=1), compute_dtype=torch.float32, device="cpu")
