"""Images made ready: each step against another library's, or by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fewbits.data.prepare import Preparation, preparation_from
from fewbits.errors import FewbitsError

FULL = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 16, "width": 12},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.5, 0.25, 0.125],
}


def picture(height: int, width: int) -> torch.Tensor:
    """A smooth picture with noise, [1, h, w, 3]."""
    generator = torch.Generator().manual_seed(height * width)
    waves = torch.linspace(0, 9, height)[:, None].sin() + torch.linspace(0, 7, width).cos()
    noise = torch.randint(0, 60, (height, width, 3), generator=generator)
    return (100 + 40 * waves[..., None] + noise).clamp(0, 255).to(torch.uint8)[None]


@pytest.mark.parametrize("resample", range(6))
@pytest.mark.parametrize(("size", "to"), [((20, 30), (8, 14)), ((9, 9), (20, 16)), ((10, 24), (20, 16))])
def test_resizing_is_pillows(resample: int, size: tuple[int, int], to: tuple[int, int]) -> None:
    image = picture(*size)
    steps = preparation_from({"do_resize": True, "size": {"height": to[0], "width": to[1]}, "resample": int(resample)})
    ours = steps(image)[0].permute(1, 2, 0)
    pillows = np.asarray(Image.fromarray(image[0].numpy()).resize((to[1], to[0]), Image.Resampling(resample)))
    assert (ours == torch.tensor(pillows)).all()


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_each_channel_is_resized_alone(channels: int) -> None:
    """Pillow would take the second of two and the fourth of four for transparency, and weigh the others by it."""
    image = torch.randint(0, 256, (1, 9, 11, channels), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    steps = preparation_from({"do_resize": True, "size": {"height": 5, "width": 4}})
    alone = [steps(image[..., i : i + 1]) for i in range(channels)]
    assert torch.equal(steps(image), torch.cat(alone, dim=1))


def test_scale_mean_and_deviation() -> None:
    pixels = preparation_from(FULL | {"do_resize": False})(torch.full((2, 4, 4, 3), 51, dtype=torch.uint8))
    assert pixels.shape == (2, 3, 4, 4)
    assert torch.allclose(pixels[0, :, 0, 0], torch.tensor([0.2, 0.0, -0.8]), atol=1e-6)


def test_the_shorter_edge_and_the_middle() -> None:
    settings = {"do_resize": True, "size": {"shortest_edge": 8}, "do_center_crop": True, "crop_size": {"height": 4, "width": 6}}
    steps = preparation_from(settings)
    assert (steps.shortest, steps.crop, steps.scale) == (8, (4, 6), 1.0)
    image = torch.zeros(1, 16, 32, 3, dtype=torch.uint8)
    image[:, 2:14, 8:24] = 200  # halved, this is at its full height in rows 2 to 5 and columns 5 to 10 of 8 x 16: the middle
    assert torch.allclose(steps(image), torch.tensor(200.0))
    image[:, 2:14, 8:10] = 0
    assert (steps(image)[..., 0] < 200).all()
    assert steps(image.transpose(1, 2)).shape == (1, 3, 4, 6)


def test_what_is_smaller_than_the_crop_is_set_in_black() -> None:
    pixels = Preparation(crop=(4, 4), scale=1.0)(torch.full((1, 2, 3, 1), 9, dtype=torch.uint8))
    assert pixels[0, 0].tolist() == [[0.0] * 4, [0.0, 9.0, 9.0, 9.0], [0.0, 9.0, 9.0, 9.0], [0.0] * 4]
    pixels = Preparation(crop=(4, 4), crop_half_even=True, scale=1.0)(torch.full((1, 2, 3, 1), 9, dtype=torch.uint8))
    assert pixels[0, 0].tolist() == [[0.0] * 4, [9.0, 9.0, 9.0, 0.0], [9.0, 9.0, 9.0, 0.0], [0.0] * 4]


@pytest.mark.parametrize(
    ("edge", "expected"),
    [(224, {"shortest": 256, "crop": (224, 224), "size": None}), (384, {"shortest": None, "crop": None, "size": (384, 384)})],
)
def test_convnext_crops_below_384_only(edge: int, expected: dict[str, Any]) -> None:
    steps = preparation_from({"do_resize": True, "size": {"shortest_edge": edge}, "resample": 3, "crop_pct": 0.875})
    assert {name: getattr(steps, name) for name in expected} == expected


def test_channels_may_come_the_other_way_round() -> None:
    image = torch.tensor([1, 2, 3], dtype=torch.uint8).view(1, 1, 1, 3)
    assert preparation_from({"do_flip_channel_order": True})(image).flatten().tolist() == [3.0, 2.0, 1.0]


def test_batches_of_any_size_give_the_same() -> None:
    images = torch.cat([picture(9, 9), picture(9, 9).flip(1)])
    steps = preparation_from(FULL)
    assert torch.equal(steps(images), torch.cat([steps(images[:1]), steps(images[1:])]))


def test_other_channels_than_the_models_are_refused() -> None:
    steps = preparation_from(FULL)
    with pytest.raises(FewbitsError, match="the images have 1 channels, the model takes 3"):
        steps(torch.zeros(1, 4, 4, 1, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"resample": 9}, "asks for resampling 9: nearest, "),
        ({"size": {"shortest_edge": 9}, "crop_pct": 0.9, "do_center_crop": True, "crop_size": 4}, "not offered together"),
        ({"do_pad": True}, "asks for do_pad=True"),
        ({"size": {"longest_edge": 5}}, "size .* is not offered"),
        ({"image_processor_type": "PerceiverImageProcessor"}, "images for PerceiverImageProcessor are not offered"),
    ],
)
def test_what_is_not_offered_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(FewbitsError, match=said):
        preparation_from(FULL | changes)


def test_idle_settings_are_no_reason_to_refuse() -> None:
    idle = {"do_pad": False, "size_divisor": None, "return_tensors": "pt", "default_to_square": True}
    assert preparation_from(FULL | idle) == preparation_from(FULL)
