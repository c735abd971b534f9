"""Pixels of an image file: 8 bits per channel, RGB or grey.

Colours are converted as Pillow does it: a palette is looked up, transparency is dropped, CMYK becomes RGB. Grey of 16 bits is
scaled, not cut off. The orientation in EXIF is left alone, as the ImageFolder of torchvision and of timm do.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from fewbits.errors import FewbitsError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # others may start a program: EPS is run by Ghostscript
_MODES = {1: "L", 3: "RGB"}


def read_pixels(path: Path, channels: int = 3) -> UInt8[Tensor, "h w c"]:
    """Read an image file, its first picture if it holds several.

    Args:
        path: The file.
        channels: 3 for RGB, 1 for grey.

    Raises:
        FewbitsError: A file that is no image, is damaged or too large, values that are not 8 or 16 bits, other channels.
    """
    from PIL import Image, UnidentifiedImageError

    if channels not in _MODES:
        raise FewbitsError(f"{path}: the model takes {channels} channels, images in files have 3 or 1: use an .npz")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are checked here, and of metadata
            with Image.open(path, formats=FORMATS) as image:
                _check_size(path, image)
                pixels = _pixels(path, image, channels)
    except Image.DecompressionBombError as error:
        raise FewbitsError(f"{path}: is too large: {error}") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, MemoryError, OverflowError) as error:
        if isinstance(error, FewbitsError):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FewbitsError(f"{path}: cannot be read as an image: {reason.replace(f' {str(path)!r}', '')}") from None
    return torch.from_numpy(pixels)


def _check_size(path: Path, image: Any) -> None:
    from PIL import Image

    width, height = image.size
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise FewbitsError(
            f"{path}: is too large: {width:,} x {height:,} pixels, more than {Image.MAX_IMAGE_PIXELS:,}: make it smaller"
        )


def _pixels(path: Path, image: Any, channels: int) -> np.ndarray:
    mode = _MODES[channels]
    if image.mode == "I" or image.mode == "F" or image.mode.startswith("I;"):
        grey = _eight_bits(path, image)
        return np.repeat(grey[:, :, None], channels, axis=2)
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")
    converted = np.array(image.convert("RGB").convert(mode) if image.mode != "L" else image.convert(mode))
    return converted if converted.ndim == 3 else converted[:, :, None]


def _eight_bits(path: Path, image: Any) -> np.ndarray:
    """Grey of more than 8 bits as 8 bits.

    16-bit values are divided by 257. Pillow's modes `I` (32 bits) and `F` do not say what white is: files of PNG and PPM hold
    16 bits; in others values up to 255 are taken as 8 bits, up to 65,535 as 16, and floats up to 1 as shares of white.
    """
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all() or low < 0 or high > 65535:
        raise FewbitsError(f"{path}: has grey values from {low:g} to {high:g}: 8 or 16 bits are offered, so convert it")
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        white = 65535
    elif image.mode == "F" and high <= 1:
        white = 1
    else:
        white = 255 if high <= 255 else 65535
    return np.round(values.astype(np.float64) * (255 / white)).astype(np.uint8)
