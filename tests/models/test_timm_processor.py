"""Images for timm's models, against timm's evaluation transform written out: `transforms_imagenet_eval` on a PIL image.

torchvision's Resize and CenterCrop are written out too (v0.28, transforms/functional.py), so neither package is needed.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fewbits.data.prepare import preparation_from
from fewbits.errors import FewbitsError
from fewbits.models.timm_model import processor_from

_FILTERS = {"bilinear": 2, "bicubic": 3, "nearest": 0, "lanczos": 1}


def _resize_shortest(image: Image.Image, size: int, how: int) -> Image.Image:
    width, height = image.size
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = size, int(size * long / short)
    return image.resize((new_short, new_long) if width <= height else (new_long, new_short), Image.Resampling(how))


def _resize_keep_ratio(image: Image.Image, size: tuple[int, int], how: int) -> Image.Image:
    width, height = image.size
    ratio = min(height / size[0], width / size[1])
    new_height, new_width = (round(x / ratio) for x in (height, width))
    return image.resize((new_width, new_height), Image.Resampling(how))


def _center_crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    width, height = image.size
    if size[1] > width or size[0] > height:
        left, top = max(0, (size[1] - width) // 2), max(0, (size[0] - height) // 2)
        padded = Image.new("RGB", (max(width, size[1]), max(height, size[0])))
        padded.paste(image, (left, top))
        image, (width, height) = padded, padded.size
    top, left = round((height - size[0]) / 2.0), round((width - size[1]) / 2.0)
    return image.crop((left, top, left + size[1], top + size[0]))


def _timm(image: Image.Image, data: dict[str, Any]) -> np.ndarray:
    """Whole steps of 0 to 255, before the means."""
    size, how = data["input_size"][1:], _FILTERS[data["interpolation"]]
    scaled = tuple(math.floor(x / data["crop_pct"]) for x in size)
    if data["crop_mode"] == "squash":
        image = image.resize(scaled[::-1], Image.Resampling(how))
    elif scaled[0] == scaled[1]:
        image = _resize_shortest(image, scaled[0], how)
    else:
        image = _resize_keep_ratio(image, scaled, how)
    return np.asarray(_center_crop(image, size))


def _data(**changes: Any) -> dict[str, Any]:
    data = {"input_size": (3, 20, 20), "crop_pct": 0.875, "crop_mode": "center", "interpolation": "bilinear"}
    return data | {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)} | changes


_CASES = [
    *(_data(crop_pct=part) for part in (0.8, 0.85, 0.875, 0.9, 0.95, 0.965, 1.0)),
    *(_data(input_size=(3, edge, edge), crop_pct=0.9) for edge in (15, 16, 17, 21, 24)),
    *(_data(interpolation=how) for how in _FILTERS),
    _data(crop_mode="squash", crop_pct=0.9),
    _data(crop_mode="squash", input_size=(3, 15, 22)),
    _data(input_size=(3, 15, 22)),
    _data(input_size=(3, 24, 13), crop_pct=0.95),
]


@pytest.mark.parametrize("data", _CASES)
def test_bit_for_bit(data: dict[str, Any]) -> None:
    steps = preparation_from(processor_from(data).settings())
    rng = np.random.default_rng(0)
    for height, width in [(20, 20), (21, 30), (30, 21), (22, 23), (27, 64), (64, 33), (9, 40), (40, 9), (31, 47), (47, 48)]:
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        ours = steps(torch.from_numpy(pixels)[None])[0].permute(1, 2, 0).mul(255).round()
        want = _timm(Image.fromarray(pixels), data)
        assert (ours.numpy() == want).all(), (height, width)


def test_a_border_is_not_offered() -> None:
    with pytest.raises(FewbitsError, match="asks for crop_mode=border"):
        preparation_from(processor_from(_data(crop_mode="border")).settings())
