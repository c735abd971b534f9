"""Images made ready for a model: what its image processor's settings say, the same in batches of any size.

Images are resized by Pillow and rounded to whole steps of 0 to 255, as transformers' and timm's own preparation does on the
CPU. Crops are those of transformers (offsets rounded down) or of torchvision, which timm uses (rounded half to even).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from fewbits.data.names import one_line
from fewbits.data.plausible import check_numbers
from fewbits.errors import FewbitsError

RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}  # by Pillow's numbers
HALF_EVEN = "half_even"  # value of the setting `crop_rounding`, which only fewbits writes and reads
# Settings that change no pixel here, or are of use to other code only.
_IDLE = {
    "image_processor_type", "feature_extractor_type", "processor_class", "_valid_processor_keys", "default_to_square",
    "do_convert_rgb", "data_format", "input_data_format", "return_tensors", "device", "disable_grouping", "backend",
    "do_reduce_labels", "reduce_labels", "num_channels",
}  # fmt: skip
_USED = {
    "do_resize", "size", "resample", "crop_pct", "do_center_crop", "crop_size", "do_rescale", "rescale_factor",
    "do_normalize", "image_mean", "image_std", "do_flip_channel_order", "crop_rounding",
    "include_top",
}  # fmt: skip
_OWN_WAYS = ("PoolFormer", "ImageGPT", "Perceiver")  # classes whose resizing is not in their settings
# Steps that a class never does, whatever its settings say.
_NEVER = {"Gemma3": "do_center_crop", "MobileViT": "do_normalize", "Segformer": "do_center_crop"}


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Steps in the order they are done; None leaves one out.

    Attributes:
        shortest: Length to which the shorter edge is resized.
        size: Height and width to which the image is resized.
        cover: Height and width that the image covers after it is resized in its own shape (timm's ResizeKeepRatio).
        resampling: Filter of the resizing, a name in RESAMPLING.
        crop: Height and width of the middle that is kept.
        crop_half_even: Whether offsets of the crop are rounded as torchvision does it, half to even (of padding down), or as
            transformers does it on the CPU, down (of padding up).
        scale: Factor of the pixels.
        mean: Subtracted after scaling, one for all channels or one for each.
        std: Divisor after that.
        channels: Channels of the model, None if not known.
        flip_channels: Whether RGB becomes BGR.
    """

    shortest: int | None = None
    size: tuple[int, int] | None = None
    cover: tuple[int, int] | None = None
    resampling: str = "bilinear"
    crop: tuple[int, int] | None = None
    crop_half_even: bool = False
    scale: float = 1 / 255
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: int | None = None
    flip_channels: bool = False

    def for_channels(self, channels: int) -> "Preparation":
        """The same steps for a model with this number of channels; grey takes the average of several means."""
        if channels == 1 and max(len(self.mean), len(self.std)) > 1:
            mean, std = ((sum(values) / len(values),) for values in (self.mean, self.std))
            return replace(self, channels=1, mean=mean, std=std)
        if {len(self.mean), len(self.std)} - {0, 1, channels}:
            count = max(len(self.mean), len(self.std))
            raise FewbitsError(f"the image processor has means of {count} channels, the model takes {channels} channels")
        return replace(self, channels=channels)

    @property
    def output_size(self) -> tuple[int, int] | None:
        """Height and width of a prepared image; None if they depend on the image. Of a square image for `shortest`."""
        return self.crop or self.size or (None if self.shortest is None else (self.shortest, self.shortest))

    def __call__(self, images: UInt8[Tensor, "b h w c"]) -> Float[Tensor, "b c h2 w2"]:
        """Pixels as the model wants them, f32. Raises FewbitsError for images of other channels than the model's."""
        if self.channels not in (None, images.shape[3]):
            raise FewbitsError(
                f"the images have {images.shape[3]} channels, the model takes {self.channels}:"
                f" convert them to {'grey' if self.channels == 1 else f'{self.channels} channels'}"
            )
        pixels = self._cropped(self._resized(images).permute(0, 3, 1, 2)).float() * self.scale
        if self.flip_channels:
            pixels = pixels.flip(1)
        if self.mean:
            mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
            pixels = (pixels - mean) / std
        return pixels.contiguous()

    def _resized(self, images: UInt8[Tensor, "b h w c"]) -> UInt8[Tensor, "b h2 w2 c"]:
        height, width = images.shape[1:3]
        size = self.size or self._keeping_the_shape(height, width)
        if size is None or size == (height, width) or not len(images):
            return images
        if min(size) < 1:
            raise FewbitsError(f"an image of {height} x {width} pixels would be resized to {size[0]} x {size[1]}")
        number = next(number for number, name in RESAMPLING.items() if name == self.resampling)
        return torch.stack([_resize(image, size, number) for image in images])

    def _keeping_the_shape(self, height: int, width: int) -> tuple[int, int] | None:
        if self.cover is not None:
            ratio = min(height / self.cover[0], width / self.cover[1])
            return round(height / ratio), round(width / ratio)
        if self.shortest is None:
            return None
        if height <= width:
            return self.shortest, int(self.shortest * width / height)
        return int(self.shortest * height / width), self.shortest

    def _cropped(self, pixels: Tensor) -> Tensor:
        """The middle; an image smaller than that is set in black."""
        if self.crop is None:
            return pixels
        short = [max(0, want - have) for want, have in zip(self.crop, pixels.shape[-2:], strict=True)]
        above, before = (each // 2 if self.crop_half_even else (each + 1) // 2 for each in short)
        pixels = F.pad(pixels, (before, short[1] - before, above, short[0] - above))
        rest = [have - want for want, have in zip(self.crop, pixels.shape[-2:], strict=True)]
        top, left = (round(each / 2) if self.crop_half_even else each // 2 for each in rest)
        return pixels[..., top : top + self.crop[0], left : left + self.crop[1]]


def _resize(image: UInt8[Tensor, "h w c"], size: tuple[int, int], resample: int) -> UInt8[Tensor, "h2 w2 c"]:
    """One image resized by Pillow; other channels than three one by one, so that none is taken for transparency."""
    from PIL import Image

    def resize(plane: np.ndarray) -> np.ndarray:
        return np.array(Image.fromarray(plane).resize((size[1], size[0]), Image.Resampling(resample)))

    pixels = image.contiguous().numpy()
    if pixels.shape[2] == 3:
        return torch.from_numpy(resize(pixels))
    planes = [resize(np.ascontiguousarray(pixels[..., channel])) for channel in range(pixels.shape[2])]
    return torch.from_numpy(np.stack(planes, axis=2))


def preparation_from(settings: Mapping[str, Any]) -> Preparation:
    """The steps that a transformers image processor's settings mean.

    Raises:
        FewbitsError: A step, a size or a resampling that is not offered here, or a value that makes no sense.
    """
    try:
        made = _preparation(settings)
    except FewbitsError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # a value of another type
        raise FewbitsError(f"the image processor's settings cannot be used: {one_line(error)}: see its config") from error
    check_numbers(made)
    return made


def _preparation(settings: Mapping[str, Any]) -> Preparation:
    _check(settings)
    kind = _kind(settings)
    settings = {k: v for k, v in settings.items() if not any(kind.startswith(c) and k == step for c, step in _NEVER.items())}
    shortest, cover, size = _size(settings)
    if kind.startswith("Levit") and shortest is not None:
        shortest = int(256 / 224 * shortest)
    crop = _pair(settings["crop_size"]) if settings.get("do_center_crop") else None
    if (part := settings.get("crop_pct")) and shortest is not None:
        shortest, size, crop = _of_convnext(shortest, part, crop)
    mean, std = _means(settings, kind)
    return Preparation(
        shortest=shortest,
        size=size,
        cover=cover,
        resampling=_resampling(settings) if settings.get("do_resize") else "bilinear",
        crop=crop,
        crop_half_even=settings.get("crop_rounding") == HALF_EVEN,
        scale=float(settings.get("rescale_factor", 1 / 255)) if settings.get("do_rescale") else 1.0,
        mean=mean,
        std=std,
        channels=len(settings["image_mean"]) if mean and isinstance(settings["image_mean"], list | tuple) else None,
        flip_channels=bool(settings.get("do_flip_channel_order")),
    )


def _of_convnext(
    shortest: int, part: float, crop: tuple[int, int] | None
) -> tuple[int | None, tuple[int, int] | None, tuple[int, int] | None]:
    """The shorter edge, size and crop: from 384 on both edges are resized, below the image is made larger and cropped."""
    if shortest >= 384:
        return None, (shortest, shortest), crop
    if crop is not None:
        raise FewbitsError("the image processor asks for crop_pct and do_center_crop, which are not offered together")
    return int(shortest / part), None, (shortest, shortest)


def _means(settings: Mapping[str, Any], kind: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the channels. EfficientNet's processors divide by the latter once more."""
    again = settings.get("include_top", kind.startswith("EfficientNet"))
    if not settings.get("do_normalize") and not again:
        return (), ()
    std = _channels(settings["image_std"])
    if not settings.get("do_normalize"):
        return (0.0,) * len(std), std
    return _channels(settings["image_mean"]), tuple(each * each for each in std) if again else std


def _kind(settings: Mapping[str, Any]) -> str:
    """The name of the processor's class."""
    return str(settings.get("image_processor_type") or settings.get("feature_extractor_type") or "")


def _check(settings: Mapping[str, Any]) -> None:
    if _kind(settings).startswith(_OWN_WAYS):
        raise FewbitsError(
            f"images for {_kind(settings)} are not offered: prepare them and measure in Python with fewbits.measure"
        )
    for name, value in settings.items():
        if name not in _USED | _IDLE and value not in (None, False):
            raise FewbitsError(f"the image processor asks for {name}={value}, which is not offered: measure in Python instead")


def _size(settings: Mapping[str, Any]) -> tuple[int | None, tuple[int, int] | None, tuple[int, int] | None]:
    """Length of the shorter edge; height and width to cover; or height and width."""
    if not settings.get("do_resize"):
        return None, None, None
    size = settings["size"]
    if isinstance(size, Mapping) and set(_present(size)) == {"shortest_edge"}:
        return int(size["shortest_edge"]), None, None
    if isinstance(size, Mapping) and set(_present(size)) == {"cover_height", "cover_width"}:
        return None, (int(size["cover_height"]), int(size["cover_width"])), None
    return None, None, _pair(size)


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
        raise FewbitsError(f"the image processor asks for resampling {number}: {', '.join(RESAMPLING.values())} are offered")
    return RESAMPLING[number]


def _channels(value: Any) -> tuple[float, ...]:
    return tuple(float(v) for v in value) if isinstance(value, list | tuple) else (float(value),)
