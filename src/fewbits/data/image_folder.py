"""A folder of images with a subfolder per class. The files are opened when they are used, so a folder may be of any size."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from fewbits.errors import FewbitsError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def equal_share(labels: Int[Tensor, " n"], most: int) -> list[int]:
    """Which images to keep: the first of every class, then the second of every class, and so on, in their own order.

    Many sets come sorted by class (CIFAR-10's test images as they are often stored do): their first thousand are all of one.
    """
    seen: dict[int, int] = {}
    ranks = []
    for at, label in enumerate(labels.tolist()):
        seen[label] = seen.get(label, -1) + 1
        ranks.append((seen[label], at))
    return sorted(at for _, at in sorted(ranks)[:most])


@dataclass(frozen=True, kw_only=True)
class ImageFiles:
    """Files with the labels of their subfolders, in the order of the subfolders' and then of their own names."""

    paths: tuple[Path, ...]
    labels: Int[Tensor, " n"]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: slice) -> list[UInt8[Tensor, "h w 3"]]:
        return [_read(path) for path in self.paths[index]]

    def first(self, most: int | None) -> "ImageFiles":
        """At most so many files: the first of every class, then the second of every class, and so on."""
        if most is None or most >= len(self):
            return self
        chosen = equal_share(self.labels, most)
        return replace(self, paths=tuple(self.paths[at] for at in chosen), labels=self.labels[chosen])

    def hash(self) -> str:
        """`sha256:...` of the labels and of what is in the files."""
        whole = hashlib.sha256(self.labels.numpy().astype("<i8").tobytes())
        for path in self.paths:
            whole.update(hashlib.sha256(path.read_bytes()).digest())
        return f"sha256:{whole.hexdigest()}"


def find(folder: Path, labels: Sequence[str], num_classes: int | None) -> ImageFiles:
    """The images of a folder, labelled for a model with these names of classes.

    Raises FewbitsError for a folder without images in subfolders, and for subfolders that are not the model's classes.
    """
    by_class = {
        sub.name: sorted(p for p in sub.iterdir() if p.suffix.lower() in SUFFIXES)
        for sub in sorted(folder.iterdir())
        if sub.is_dir()
    }
    by_class = {name: paths for name, paths in by_class.items() if paths}
    if not by_class:
        raise FewbitsError(f"{folder}: has no subfolders with images: one for each class, named after it")
    indices = _indices(folder, list(by_class), labels, num_classes)
    return ImageFiles(
        paths=tuple(path for paths in by_class.values() for path in paths),
        labels=torch.tensor([indices[name] for name, paths in by_class.items() for _ in paths]),
        classes=tuple(by_class),
    )


def _indices(folder: Path, names: list[str], labels: Sequence[str], num_classes: int | None) -> dict[str, int]:
    """The number of each class, by its subfolder's name."""
    known = {label: index for index, label in enumerate(labels)}
    strangers = [name for name in names if name not in known]
    if not strangers:
        return {name: known[name] for name in names}
    if len(strangers) < len(names):
        raise FewbitsError(f"{folder}: subfolder '{strangers[0]}' is none of the model's classes ({_some(labels)})")
    if num_classes is not None and len(names) != num_classes:
        raise FewbitsError(
            f"{folder}: has {len(names)} subfolders, the model {num_classes} classes, and no name is the same:"
            f" name them after its classes{f' ({_some(labels)})' if labels else ', or give one for each'}"
        )
    return {name: index for index, name in enumerate(names)}


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:4]) + (", ..." if len(labels) > 4 else "")


def _read(path: Path) -> Tensor:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return torch.from_numpy(np.array(image.convert("RGB")))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise FewbitsError(f"{path}: cannot be read as an image: {error}") from None
