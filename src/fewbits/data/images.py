"""Images for classifiers: an .npz, a folder with a subfolder per class, CIFAR-100 from the hub, or scikit-learn's digits."""

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from fewbits.data.image_folder import ImageFiles, equal_share, find
from fewbits.data.names import did_you_mean, near, near_paths, one_line
from fewbits.data.prepare import Preparation, preparation_from
from fewbits.data.processor import ImageProcessor
from fewbits.errors import FewbitsError

BUILT_IN = ("demo", "cifar100")
BATCH = 100


@dataclass(frozen=True, kw_only=True)
class ImageData:
    """Images as they are stored, their labels, and how they are made ready for one model.

    Images in files may differ in size; they are read when they are used. `classes` are the names that came with the images,
    empty where none did. `sha256` is the hash of labels and pixels, or of labels and image files.
    """

    labels: Int[Tensor, " n"] = field(repr=False)
    source: str
    sha256: str
    classes: tuple[str, ...] = ()
    preparation: Preparation = field(default_factory=Preparation)
    images: UInt8[Tensor, "n h w c"] | ImageFiles = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, start: int, stop: int) -> Float[Tensor, "b c h w"]:
        """Some of the images, ready for the model. Raises FewbitsError where they differ in size after all steps."""
        images = self.images[start:stop]
        if isinstance(images, Tensor):
            return self.preparation(images)
        ready = [self.preparation(image.unsqueeze(0)) for image in images]
        sizes = {tuple(pixels.shape[1:]) for pixels in ready}
        if len(sizes) > 1:
            raise FewbitsError(
                f"{self.source}: the images differ in size ({_sizes(sizes)}) and the model's processor resizes none"
            )
        return torch.cat(ready)

    def batches(self, size: int = BATCH) -> "Batches":
        """The images in batches of a size: pixels [b, c, h, w] f32 and labels [b]."""
        return Batches(data=self, size=size)


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Pixels and labels, batch by batch, as often as they are asked for."""

    data: ImageData
    size: int

    def __len__(self) -> int:
        return -(-len(self.data) // self.size)

    def __iter__(self) -> Iterator[tuple[Float[Tensor, "b c h w"], Int[Tensor, " b"]]]:
        for start in range(0, len(self.data), self.size):
            yield self.data.pixels(start, start + self.size), self.data.labels[start : start + self.size]


def load_images(
    name: str,
    *,
    max_images: int | None = None,
    processor: ImageProcessor | None = None,
    labels: Sequence[str] = (),
    num_classes: int | None = None,
) -> ImageData:
    """Find images and their labels for a classifier.

    `name` is an .npz with `images` [n, h, w, c] uint8 and `labels` [n]; a folder with a subfolder per class; `cifar100` (the
    test, from the hub); or `demo`. `processor`, `labels` (names of the classes by index) and `num_classes` are the model's;
    without a processor pixels are scaled to 0..1 and nothing else. `max_images` keeps an equal share of each class, its
    first. Subfolders are the classes of the same names; if the model has none of these names, they are its classes in
    alphabetical order.

    Raises FewbitsError for files that are missing or not what is said above, labels beyond the model's classes, a processor
    whose steps are not offered, a missing package, and where the hub is out of reach.
    """
    if max_images is not None and max_images < 1:
        raise FewbitsError(f"{max_images} images are too few to measure on")
    preparation = preparation_from(processor.settings()) if processor else Preparation()
    data = _find(name, max_images, preparation, tuple(labels), num_classes)
    if num_classes is not None and not 0 <= int(data.labels.min()) <= int(data.labels.max()) < num_classes:
        most = int(data.labels.max()) if int(data.labels.max()) >= num_classes else int(data.labels.min())
        raise FewbitsError(f"{data.source}: has label {most}, the model has {num_classes} classes (0 to {num_classes - 1})")
    return data


def _find(name: str, most: int | None, preparation: Preparation, labels: tuple[str, ...], num_classes: int | None) -> ImageData:
    match name:
        case "demo":
            from fewbits.data.digits import digits

            return _in_memory(*digits("test"), "scikit-learn's digits, test", most, preparation)
        case "cifar100":
            from fewbits.data.hub_sets import cifar100

            images, targets, classes, source = cifar100()
            return _in_memory(images, targets, source, most, preparation, classes)
    path = Path(name)
    if path.is_dir():
        files = find(path, labels, num_classes).first(most)
        return ImageData(
            images=files, labels=files.labels, source=name, sha256=files.hash(), classes=files.classes, preparation=preparation
        )
    return _in_memory(*_read_npz(path), name, most, preparation)


def _in_memory(
    images: UInt8[Tensor, "n h w c"],
    labels: Int[Tensor, " n"],
    source: str,
    most: int | None,
    preparation: Preparation,
    classes: tuple[str, ...] = (),
) -> ImageData:
    if most is not None and most < len(labels):
        chosen = equal_share(labels, most)
        images, labels = images[chosen], labels[chosen]
    whole = hashlib.sha256(labels.numpy().astype("<i8").tobytes() + images.numpy().tobytes())
    digest = f"sha256:{whole.hexdigest()}"
    return ImageData(images=images, labels=labels, source=source, sha256=digest, classes=classes, preparation=preparation)


def _read_npz(path: Path) -> tuple[Tensor, Tensor]:
    """Both arrays, checked. Nothing in the file is ever run: pickled arrays are refused."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            missing = {"images", "labels"} - set(arrays)
            if missing:
                raise FewbitsError(f"{path}: has no array '{min(missing)}', only {', '.join(arrays) or 'nothing'}")
            images, labels = arrays["images"], arrays["labels"]
    except FileNotFoundError:
        meant = near(str(path), BUILT_IN) or near_paths(path, folders=False) or near_paths(path, folders=True)
        what = "an .npz, a folder with a subfolder per class, " + " or ".join(BUILT_IN)
        raise FewbitsError(f"{path}: no such file{did_you_mean(meant)} (images are {what})") from None
    except (OSError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise FewbitsError(f"{path}: is no .npz of 'images' and 'labels': {one_line(error)}") from None
    except ValueError as error:
        if isinstance(error, FewbitsError):
            raise
        raise FewbitsError(f"{path}: is no .npz of 'images' and 'labels': {one_line(error)}") from None
    _check(path, images, labels)
    return torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))


def _check(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        have = f"{images.dtype} {list(images.shape)}"
        raise FewbitsError(f"{path}: 'images' is {have}, not uint8 [n, height, width, 3] (or 1 channel)")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise FewbitsError(f"{path}: 'labels' is {labels.dtype} {list(labels.shape)}, not integers [n]")
    if len(images) != len(labels) or not len(images):
        raise FewbitsError(f"{path}: has {len(images)} images and {len(labels)} labels")


def _sizes(sizes: set[tuple[int, ...]]) -> str:
    return ", ".join(f"{h} x {w}" for _, h, w in sorted(sizes)[:3])
