"""Images and labels from an .npz. Nothing in the file is ever run: pickled arrays are refused."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from fewbits.data.names import did_you_mean, near, near_paths, one_line
from fewbits.errors import FewbitsError
from fewbits.files import open_regular

BUILT_IN = ("demo", "cifar100")


def read_npz(path: Path) -> tuple[UInt8[Tensor, "n h w c"], Int[Tensor, " n"]]:
    """The arrays `images` and `labels` of an .npz.

    Raises:
        FewbitsError: A file that is missing or no .npz, arrays of other types or shapes, or of different lengths.
    """
    try:
        with open_regular(path) as file:
            images, labels = _arrays(path, file)
    except FileNotFoundError:
        meant = near(str(path), BUILT_IN) or near_paths(path, folders=False) or near_paths(path, folders=True)
        what = "an .npz, a folder with a subfolder per class, " + " or ".join(BUILT_IN)
        raise FewbitsError(f"{path}: no such file{did_you_mean(meant)} (images are {what})") from None
    except FewbitsError:
        raise
    except Exception as error:  # of many types: zip files and arrays can be damaged in many ways
        raise FewbitsError(f"{path}: is no .npz of 'images' and 'labels': {_reason(error)}") from None
    _check_images(path, images)
    _check_labels(path, labels)
    if len(images) != len(labels) or not len(images):
        raise FewbitsError(f"{path}: has {len(images)} images and {len(labels)} labels")
    return torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(labels.astype(np.int64))


def _arrays(path: Path, file: object) -> tuple[np.ndarray, np.ndarray]:
    found = np.load(file, allow_pickle=False)  # type: ignore[arg-type]
    if not isinstance(found, np.lib.npyio.NpzFile):
        raise FewbitsError(f"{path}: is no .npz of 'images' and 'labels' but a single array: write both with numpy.savez")
    with found as arrays:
        missing = {"images", "labels"} - set(arrays)
        if missing:
            raise FewbitsError(f"{path}: has no array '{min(missing)}', only {', '.join(arrays) or 'nothing'}")
        return arrays["images"], arrays["labels"]


def _reason(error: Exception) -> str:
    if "allow_pickle" in str(error):
        return "it holds pickled objects, which are not read (allow_pickle=False): save arrays of numbers"
    return one_line(error)


def _check_images(path: Path, images: np.ndarray) -> None:
    have = f"'images' is {images.dtype} {list(images.shape)}"
    wanted = "not uint8 [n, height, width, 3] (or 1 channel)"
    if images.ndim == 4 and images.shape[-1] not in (1, 3) and images.shape[1] in (1, 3):
        raise FewbitsError(f"{path}: {have}, {wanted}: the channels come first, so images.transpose(0, 2, 3, 1)")
    if images.ndim == 3:
        raise FewbitsError(f"{path}: {have}, {wanted}: for grey images, images[..., None]")
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape[1:]:
        raise FewbitsError(f"{path}: {have}, {wanted}")
    if images.dtype != np.uint8:
        raise FewbitsError(f"{path}: {have}, {wanted}{_how_to_convert(images)}")


def _how_to_convert(images: np.ndarray) -> str:
    """What the values look like, and what would make them bytes."""
    if images.dtype.kind not in "fiu" or not images.size:
        return ""
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        return ": some of its values are NaN or infinite"
    low, high = images.min(), images.max()
    values = f": its values are from {low:g} to {high:g}"
    if low < 0:
        return f"{values}, so it is normalised already: give the pixels before that"
    if images.dtype.kind == "f" and high <= 1:
        return f"{values}, so (255 * images).round().astype('uint8')"
    return f"{values}, so images.astype('uint8')" if high <= 255 else f"{values}: bring them to 0 to 255"


def _check_labels(path: Path, labels: np.ndarray) -> None:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        hint = ""
        if labels.ndim == 2 and labels.shape[1] == 1:
            hint = ": labels[:, 0]"
        elif labels.ndim == 2:
            hint = ": for one-hot labels, labels.argmax(1)"
        elif labels.dtype.kind == "f":
            hint = ": labels.astype('int64') if they are whole numbers"
        raise FewbitsError(f"{path}: 'labels' is {labels.dtype} {list(labels.shape)}, not integers [n]{hint}")
    if labels.size and (high := labels.max()) > np.iinfo(np.int64).max:
        raise FewbitsError(f"{path}: has label {high}: labels are class indices")
