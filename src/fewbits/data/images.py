"""Images for classifiers: an .npz, a folder with a subfolder per class, CIFAR-100 from the hub, or scikit-learn's digits."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from fewbits.data.class_names import class_indices, same_names
from fewbits.data.image_folder import ImageFiles, equal_share, find
from fewbits.data.npz import read_npz
from fewbits.data.prepare import Preparation, preparation_from
from fewbits.data.processor import ImageProcessor
from fewbits.errors import FewbitsError

_log = logging.getLogger("fewbits")
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
    channels: int | None = None,
) -> ImageData:
    """Find images and their labels for a classifier. What is assumed of a folder is logged to `fewbits`.

    Args:
        name: An .npz with `images` [n, h, w, c] uint8 and `labels` [n]; a folder with a subfolder per class (see
            `class_names`); `cifar100` (the test, from the hub); or `demo`.
        max_images: Keep an equal share of each class, its first.
        processor: The model's; without one pixels are scaled to 0..1 and nothing else.
        labels: Names of the model's classes by index.
        num_classes: Number of the model's classes.
        channels: Channels that the model takes; images of a folder are converted to them.

    Raises:
        FewbitsError: Files that are missing or not as said above, labels beyond the model's classes, a processor whose steps
            are not offered, a missing package, or a hub that is out of reach.
    """
    if max_images is not None and max_images < 1:
        raise FewbitsError(f"{max_images} images are too few to measure on")
    preparation = preparation_from(processor.settings()) if processor else Preparation()
    if channels is not None:
        preparation = preparation.for_channels(channels)
    data = _find(name, max_images, preparation, tuple(labels), num_classes)
    least, most = int(data.labels.min()), int(data.labels.max())
    if num_classes is not None and not 0 <= least <= most < num_classes:
        wrong = most if most >= num_classes else least
        raise FewbitsError(f"{data.source}: has label {wrong}, the model has {num_classes} classes (0 to {num_classes - 1})")
    if least < 0:
        raise FewbitsError(f"{data.source}: has label {least}: labels are class indices from 0")
    return data


def _find(name: str, most: int | None, preparation: Preparation, labels: tuple[str, ...], num_classes: int | None) -> ImageData:
    match name:
        case "demo":
            from fewbits.data.digits import digits

            return _in_memory(*digits("test"), "scikit-learn's digits, test", most, preparation)
        case "cifar100":
            from fewbits.data.hub_sets import cifar100

            images, targets, classes, source = cifar100()
            targets = _by_name(source, targets, classes, labels)
            return _in_memory(images, targets, source, most, preparation, classes)
    path = Path(name)
    if path.is_dir():
        files = find(path, labels, num_classes, preparation.channels or 3)
        for note in files.assumed:
            _log.warning("%s", note)
        files = files.first(most)
        return ImageData(
            images=files, labels=files.labels, source=name, sha256=files.hash(), classes=files.classes, preparation=preparation
        )
    return _in_memory(*read_npz(path), name, most, preparation)


def _by_name(source: str, targets: Int[Tensor, " n"], classes: tuple[str, ...], labels: tuple[str, ...]) -> Int[Tensor, " n"]:
    """Labels as the model numbers its classes, if it names the same ones."""
    if not same_names(classes, labels):
        return targets
    indices, _ = class_indices(source, classes, labels, len(labels))
    return torch.tensor([indices[name] for name in classes])[targets]


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


def _sizes(sizes: set[tuple[int, ...]]) -> str:
    return ", ".join(f"{h} x {w}" for _, h, w in sorted(sizes)[:3])
