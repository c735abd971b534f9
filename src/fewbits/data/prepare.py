"""Images made ready for a model, in torch: what its image processor's settings say, the same in batches of any size.

resize   bilinear or bicubic at float32 without rounding, pixel centres aligned as Pillow has them; with Pillow's filter against
         aliasing where the image shrinks. Pillow and torchvision round to whole pixels in between: up to half a step apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from fewbits.errors import FewbitsError

RESAMPLING = {0: "nearest-exact", 2: "bilinear", 3: "bicubic"}  # by Pillow's numbers
_NAMES = {1: "Lanczos", 4: "box", 5: "Hamming"}
# Settings that change no pixel here, or are of use to other code only.
_IDLE = {
    "image_processor_type", "feature_extractor_type", "processor_class", "_valid_processor_keys", "default_to_square",
    "do_convert_rgb", "data_format", "input_data_format", "return_tensors", "device", "disable_grouping", "backend",
    "do_reduce_labels", "reduce_labels", "num_channels",
}  # fmt: skip
_USED = {
    "do_resize", "size", "resample", "crop_pct", "do_center_crop", "crop_size", "do_rescale", "rescale_factor",
    "do_normalize", "image_mean", "image_std", "do_flip_channel_order",
}  # fmt: skip
_OWN_WAYS = ("Levit", "PoolFormer", "ImageGPT", "Perceiver")  # classes whose resizing the settings do not tell


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Steps in the order they are done; None leaves one out.

    `shortest` is the length to which the shorter edge is resized, `size` the height and width to which both are;
    `crop` is cut out of the middle. Pixels are then multiplied by `scale`; `mean` and `std` are one
    for all channels, or one for each.
    """

    shortest: int | None = None
    size: tuple[int, int] | None = None
    resampling: str = "bilinear"
    crop: tuple[int, int] | None = None
    scale: float = 1 / 255
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: int | None = None
    flip_channels: bool = False

    def __call__(self, images: UInt8[Tensor, "b h w c"]) -> Float[Tensor, "b c h2 w2"]:
        """Pixels as the model wants them, f32. Raises FewbitsError for images of other channels than the model's."""
        pixels = images.permute(0, 3, 1, 2).float()
        if self.channels not in (None, pixels.shape[1]):
            raise FewbitsError(f"the images have {pixels.shape[1]} channels, the model takes {self.channels}")
        pixels = self._cropped(self._resized(pixels)) * self.scale
        if self.flip_channels:
            pixels = pixels.flip(1)
        if self.mean:
            mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
            pixels = (pixels - mean) / std
        return pixels.contiguous()

    def _resized(self, pixels: Tensor) -> Tensor:
        size = self.size or self._keeping_the_shape(pixels)
        have = tuple(pixels.shape[-2:])
        if size is None or size == have:
            return pixels
        if self.resampling == "nearest-exact":
            return F.interpolate(pixels, size=size, mode=self.resampling)
        # The filter is needed only where the image shrinks; but torch's bicubic kernel is Pillow's only with it.
        smooth = self.resampling == "bicubic" or size[0] < have[0] or size[1] < have[1]
        pixels = F.interpolate(pixels, size=size, mode=self.resampling, align_corners=False, antialias=smooth)
        return pixels.clamp_(0, 255) if self.resampling == "bicubic" else pixels  # bicubic overshoots

    def _keeping_the_shape(self, pixels: Tensor) -> tuple[int, int] | None:
        if self.shortest is None:
            return None
        height, width = pixels.shape[-2:]
        if height <= width:
            return self.shortest, int(self.shortest * width / height)
        return int(self.shortest * height / width), self.shortest

    def _cropped(self, pixels: Tensor) -> Tensor:
        """The middle; what is smaller than that is set in black."""
        if self.crop is None:
            return pixels
        short = [max(0, want - have) for want, have in zip(self.crop, pixels.shape[-2:], strict=True)]
        pixels = F.pad(pixels, (short[1] // 2, short[1] - short[1] // 2, short[0] // 2, short[0] - short[0] // 2))
        top, left = ((have - want) // 2 for want, have in zip(self.crop, pixels.shape[-2:], strict=True))
        return pixels[..., top : top + self.crop[0], left : left + self.crop[1]]


def preparation_from(settings: Mapping[str, Any]) -> Preparation:
    """The steps that a transformers image processor's settings mean.

    Raises FewbitsError for a step or a resampling that is not offered here.
    """
    _check(settings)
    shortest, size = _size(settings)
    crop = _pair(settings["crop_size"]) if settings.get("do_center_crop") else None
    if (part := settings.get("crop_pct")) and shortest is not None:  # ConvNeXt: below 384 resize to more, then crop
        size = (shortest, shortest) if shortest >= 384 else None
        crop = None if shortest >= 384 else (shortest, shortest)
        shortest = None if shortest >= 384 else int(shortest / part)
    normalize = settings.get("do_normalize")
    return Preparation(
        shortest=shortest,
        size=size,
        resampling=_resampling(settings) if settings.get("do_resize") else "bilinear",
        crop=crop,
        scale=float(settings.get("rescale_factor", 1 / 255)) if settings.get("do_rescale") else 1.0,
        mean=_channels(settings["image_mean"]) if normalize else (),
        std=_channels(settings["image_std"]) if normalize else (),
        channels=len(settings["image_mean"]) if normalize and not isinstance(settings["image_mean"], int | float) else None,
        flip_channels=bool(settings.get("do_flip_channel_order")),
    )


def _check(settings: Mapping[str, Any]) -> None:
    kind = settings.get("image_processor_type") or settings.get("feature_extractor_type") or ""
    if kind.startswith(_OWN_WAYS):
        raise FewbitsError(f"images for {kind} are not offered: prepare them and measure in Python with fewbits.measure")
    for name, value in settings.items():
        if name not in _USED | _IDLE and value not in (None, False):
            raise FewbitsError(f"the image processor asks for {name}={value}, which is not offered: measure in Python instead")


def _size(settings: Mapping[str, Any]) -> tuple[int | None, tuple[int, int] | None]:
    """Length of the shorter edge, or height and width."""
    if not settings.get("do_resize"):
        return None, None
    size = settings["size"]
    if isinstance(size, Mapping) and set(_present(size)) == {"shortest_edge"}:
        return int(size["shortest_edge"]), None
    return None, _pair(size)


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    if isinstance(size, Mapping) and set(_present(size)) == {"height", "width"}:
        return int(size["height"]), int(size["width"])
    raise FewbitsError(f"the image processor's size {size} is not offered: 'height' and 'width', or 'shortest_edge'")


def _present(size: Mapping[str, Any]) -> list[str]:
    return [name for name, value in size.items() if value is not None]


def _resampling(settings: Mapping[str, Any]) -> str:
    asked = settings.get("resample")
    number = 2 if asked is None else int(asked)
    if number not in RESAMPLING:
        name = _NAMES.get(number, number)
        raise FewbitsError(f"the image processor asks for {name} resampling: nearest, bilinear and bicubic are offered")
    return RESAMPLING[number]


def _channels(value: Any) -> tuple[float, ...]:
    return tuple(float(v) for v in value) if isinstance(value, list | tuple) else (float(value),)
