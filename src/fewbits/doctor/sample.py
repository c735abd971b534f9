"""A model of the same configuration with random weights and no more blocks than are needed to time it.

A step of a language model is its blocks, one like the other, and what is before and after them. So the time of the whole is
that of a sample and, where the sample has fewer blocks, that of the missing ones by the difference of two samples.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import psutil
import torch
from torch import nn

from fewbits.doctor.limits import cache_bytes
from fewbits.errors import FewbitsError
from fewbits.measure.running import config_value


@dataclass(frozen=True, kw_only=True)
class Cut:
    """`blocks` of the model, and of its samples, the larger first; one sample is the whole model."""

    blocks: int
    samples: tuple[int, ...]

    def extend(self, values: Sequence[float]) -> float:
        """The value of the whole from those of the samples."""
        if len(values) == 1:
            return values[0]
        (large, small), (a, b) = self.samples, values
        return a + (self.blocks - large) * max(0.0, (a - b) / (large - small))


def cut_of(bare: nn.Module) -> Cut:
    """How many blocks to take: all of them where they are no larger than four caches, in float32; else half of them, or as many
    as an eighth of the memory holds; and a quarter of that. What is timed wrongly then counts once or twice, not 14 times as
    with two of 16 blocks and one.
    """
    blocks = config_value(bare, "num_hidden_layers")
    if blocks is None:
        raise FewbitsError(f"{type(bare).__name__}: its configuration has no num_hidden_layers: its speed cannot be predicted")
    weights = sum(p.numel() for p in bare.parameters())
    table = sum(m.weight.numel() for m in bare.modules() if isinstance(m, nn.Embedding))
    one = max(1, 4 * (weights - table) // blocks)
    least = max(2, ceil(4 * cache_bytes() / one))
    if least >= blocks:
        return Cut(blocks=blocks, samples=(blocks,))
    large = max(least, min(blocks // 2, psutil.virtual_memory().total // 8 // one))
    return Cut(blocks=blocks, samples=(large, max(1, large // 4)))


def sample(bare: nn.Module, blocks: int) -> nn.Module:
    """The model with so many blocks, in float32, its weights random: speeds do not depend on them."""
    config: Any = copy.deepcopy(bare.config)
    config.num_hidden_layers = blocks
    if isinstance(kinds := getattr(config, "layer_types", None), list):
        config.layer_types = kinds[:blocks]
    config.dtype = torch.float32
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = type(bare)(config)
    return model.float().eval()


def twin(model: nn.Module) -> nn.Module:
    """A copy that shares the parameters: quantizing it replaces layers and leaves the original alone."""
    return copy.deepcopy(model, {id(p): p for p in model.parameters()})
