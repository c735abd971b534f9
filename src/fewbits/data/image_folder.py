"""A folder of images with a subfolder per class. The files are opened when they are used, so a folder may be of any size."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from fewbits.data.class_names import class_indices
from fewbits.data.pixels import read_pixels
from fewbits.errors import FewbitsError

SUFFIXES = (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_NO_CLASSES = ("__macosx", "$recycle.bin", "@eadir", "system volume information")  # folders that systems leave behind
_PARTS = ("train", "training", "val", "valid", "validation", "test", "testing", "eval", "dev")
_UNREAD = (".avif", ".exr", ".heic", ".heif", ".jp2", ".jpe", ".jxl", ".npy", ".svg", ".tga")  # images, but not read


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
    """Files with the labels of their subfolders, in the order of the subfolders' and then of their own names.

    `assumed` says what was assumed of the folder, a line each.
    """

    paths: tuple[Path, ...]
    labels: Int[Tensor, " n"]
    classes: tuple[str, ...]
    channels: int = 3
    assumed: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: slice) -> list[UInt8[Tensor, "h w c"]]:
        return [read_pixels(path, self.channels) for path in self.paths[index]]

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
            whole.update(hashlib.sha256(_bytes(path)).digest())
        return f"sha256:{whole.hexdigest()}"


def find(folder: Path, labels: Sequence[str], num_classes: int | None, channels: int = 3) -> ImageFiles:
    """The images of a folder, labelled for a model with these names of classes (see `class_names`).

    As torchvision's ImageFolder does, images may lie deeper in a class's folder. Names that begin with a dot, empty files and
    files that are no images are left out.

    Args:
        folder: The folder with a subfolder per class.
        labels: Names of the model's classes by index.
        num_classes: Number of the model's classes, None if not known.
        channels: Channels of the model, 3 or 1.

    Raises:
        FewbitsError: A folder without images in subfolders, with parts such as train and val, or with other classes.
    """
    try:
        subfolders = sorted(each for each in folder.iterdir() if each.is_dir() and not _hidden(each))
        by_class = {each.name: sorted(_images(each)) for each in subfolders}
        outside = sum(_is_image(each) for each in folder.iterdir())
    except OSError as error:
        raise FewbitsError(f"{folder}: cannot be read: {error.filename or folder}: {error.strerror}") from None
    filled = [name for name, paths in by_class.items() if paths]
    if not filled:
        hint = f"; its {outside} images are in none" if outside else ""
        raise FewbitsError(f"{folder}: has no subfolders with images{hint}: one for each class, named after it")
    _check_parts(folder, by_class, labels)
    indices, assumed = class_indices(str(folder), filled, labels, num_classes)
    notes = [assumed, f"{outside} images are in no subfolder and left out" if outside else None, *_left_out(subfolders)]
    return ImageFiles(
        paths=tuple(path for name in filled for path in by_class[name]),
        labels=torch.tensor([indices[name] for name in filled for _ in by_class[name]]),
        classes=tuple(filled),
        channels=channels,
        assumed=tuple(f"{folder}: {note}" for note in notes if note),
    )


def _hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name.casefold() in _NO_CLASSES


def _images(folder: Path) -> Iterator[Path]:
    return (path for path in _files(folder) if _is_image(path))


def _files(folder: Path) -> Iterator[Path]:
    """All files in a folder and in those below it; links to folders below are not followed."""
    for path in folder.iterdir():
        if _hidden(path):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        elif path.is_file():
            yield path


def _is_image(path: Path) -> bool:
    named = path.suffix.lower() in SUFFIXES and not _hidden(path)
    return named and path.is_file() and path.stat().st_size > 0


def _left_out(subfolders: Sequence[Path]) -> list[str]:
    """What to say of files that look like images and are not used."""
    files = [path for folder in subfolders for path in _files(folder)]
    empty = [path for path in files if path.suffix.lower() in SUFFIXES and path.stat().st_size == 0]
    other = [path for path in files if path.suffix.lower() in _UNREAD]
    notes = []
    if empty:
        notes.append(f"{len(empty)} empty files are left out, such as {empty[0].name}")
    if other:
        notes.append(f"{len(other)} files of types that are not read are left out, such as {other[0].name}")
    return notes


def _check_parts(folder: Path, by_class: Mapping[str, Sequence[Path]], labels: Sequence[str]) -> None:
    """Raise FewbitsError for a data set whose subfolders are its parts, with the classes' folders in them."""
    known = {label.casefold() for label in labels}
    for name, paths in by_class.items():
        nested = bool(paths) and all(path.parent.parent != folder for path in paths)
        if nested and name.casefold() in _PARTS and name.casefold() not in known:
            raise FewbitsError(
                f"{folder}: its subfolder '{name}' is a part of the data, not a class: give {folder / name}, where the classes are"
            )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FewbitsError(f"{path}: cannot be read: {error.strerror}") from None
