"""Small searches: a tiny model, its space, its data."""

from pathlib import Path

import torch
from torch import Tensor, nn

from fewbits.search import Search, Settings, Space, TuneData, image_data, space_of, text_data
from tests import tiny

CANDIDATES = ("mse:uint2g32", "mse:uint4g32", "rtn:uint8g32")


def ids(count: int = 3000, seed: int = 0) -> Tensor:
    return torch.randint(3, tiny.VOCABULARY, (count,), generator=torch.Generator().manual_seed(seed))


def text(**how: int) -> TuneData:
    """Short windows that the tiny models have positions for."""
    sizes = {"tokens": 256, "samples": 8, "verify_tokens": 300} | how
    return text_data(ids(), bos=1, window=32, short=16, protocol="windows:32", **sizes)


def images(size: int = 16, count: int = 96) -> TuneData:
    pixels = tiny.images(size, count)
    return image_data(pixels, torch.arange(count) % 10, choose=32, samples=8)


def spiky(model: nn.Module) -> nn.Module:
    """One layer with a few weights far larger than the others, so that layers differ."""
    for name, parameter in model.named_parameters():
        if name.endswith(("q_proj.weight", "c_fc.weight")) and ".0." in name:
            parameter.data[0, :4] = 3.0
    return model


def search(model: nn.Module, data: TuneData, cache: Path | None = None, **how: object) -> Search:
    settings = Settings(**{"samples": 8, "rounds": 1} | how)  # type: ignore[arg-type]
    return Search(model, data, space(model), settings=settings, cache=cache, remember=cache is not None)


def space(model: nn.Module) -> Space:
    return space_of(model, CANDIDATES)
