"""Which class of a model a folder means: by the names of the model's classes, by number, or by order.

by name    without regard to case and separators (`_`, `-`, blanks); any of several names of a class that are separated by
           commas, as ImageNet's are. A class without a folder is fine.
by number  if every folder is a number and they are not the model's names: class indices from 0, or from 1 if the largest
           number is the number of classes.
by order   if no folder has a name of the model's: in the order of their names, if there is one for each class.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from fewbits.data.names import did_you_mean, near
from fewbits.errors import FewbitsError

_MOST = 1_000_000  # classes of a model that does not say how many it has
_SEPARATORS = re.compile(r"[\s_\-]+")


def class_indices(
    folder: str, names: Sequence[str], labels: Sequence[str], num_classes: int | None
) -> tuple[dict[str, int], str | None]:
    """The class index of each folder.

    Args:
        folder: What the folders are in, for messages.
        names: The folders' names.
        labels: Names of the model's classes by index; empty if it has none.
        num_classes: Number of the model's classes, None if not known.

    Returns:
        The index of each name, and what was assumed if the names are not those of the model's classes.

    Raises:
        FewbitsError: Names that are no classes, name two classes, or name one class twice.
    """
    known = _Labels(labels)
    found = {name: known.find(folder, name) for name in names}
    if all(index is not None for index in found.values()):
        indices = {name: index for name, index in found.items() if index is not None}
        assumed = None
    elif all(name.isdecimal() and name.isascii() for name in names):
        indices, assumed = _by_number(folder, names, num_classes)
        for name, index in found.items():
            if index not in (None, indices[name]):
                raise FewbitsError(
                    f"{folder}: subfolder '{name}' is the model's class {index} by its name and {indices[name]} by its number:"
                    f" name all after the classes ({_some(labels)})"
                )
    elif any(index is not None for index in found.values()):
        stranger = next(name for name, index in found.items() if index is None)
        meant = did_you_mean(near(stranger, labels))
        raise FewbitsError(f"{folder}: subfolder '{stranger}' is none of the model's classes ({_some(labels)}){meant}")
    else:
        indices, assumed = _by_order(folder, names, labels, num_classes)
    _check_once(folder, indices)
    return indices, assumed


def same_names(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether both have the same names of classes, in any order, without regard to case and separators."""
    return bool(first) and sorted(map(_plain, first)) == sorted(map(_plain, second))


class _Labels:
    """Names of a model's classes, looked up more and more loosely."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        self._tables = (
            _table(enumerate(labels)),
            _table((index, _plain(label)) for index, label in enumerate(labels)),
            _table((index, _plain(part)) for index, label in enumerate(labels) for part in label.split(",")),
        )

    def find(self, folder: str, name: str) -> int | None:
        """The index of a class; None for a name that is none."""
        for table, key in zip(self._tables, (name, _plain(name), _plain(name)), strict=True):
            if len(indices := table.get(key, ())) > 1:
                both = " and ".join(f"{index} ('{self._labels[index]}')" for index in indices[:2])
                raise FewbitsError(f"{folder}: subfolder '{name}' could be class {both}: name it by its number")
            if indices:
                return indices[0]
        return None


def _table(pairs: Iterable[tuple[int, str]]) -> Mapping[str, list[int]]:
    table: dict[str, list[int]] = {}
    for index, name in pairs:
        if name and index not in table.setdefault(name, []):
            table[name].append(index)
    return table


def _plain(name: str) -> str:
    """A name without case, separators and the ways to write an accent."""
    return _SEPARATORS.sub(" ", unicodedata.normalize("NFKC", name)).strip().casefold()


def _by_number(folder: str, names: Sequence[str], num_classes: int | None) -> tuple[dict[str, int], str]:
    numbers = {name: int(name) for name in names}
    least, most = min(numbers.values()), max(numbers.values())
    first = 0
    if least > 0:
        from_one = sorted(numbers.values()) == [*range(1, len(names) + 1)] if num_classes is None else most == num_classes
        first = int(from_one)
    if most - first >= (num_classes or _MOST):
        name = max(numbers, key=lambda each: numbers[each])
        limit = num_classes or _MOST
        raise FewbitsError(f"{folder}: subfolder '{name}' is no class: there are {limit} (0 to {limit - 1}, or 1 to {limit})")
    counted = f"class indices from {first}, {numbers_of(least, most)}"
    return {name: number - first for name, number in numbers.items()}, f"its subfolders are taken as {counted}"


def numbers_of(least: int, most: int) -> str:
    """`3`, or `3 to 7`."""
    return str(least) if least == most else f"{least} to {most}"


def _by_order(
    folder: str, names: Sequence[str], labels: Sequence[str], num_classes: int | None
) -> tuple[dict[str, int], str | None]:
    if num_classes is not None and len(names) != num_classes:
        raise FewbitsError(
            f"{folder}: has {len(names)} subfolders, the model {num_classes} classes, and no name is the same:"
            f" name them after its classes{f' ({_some(labels)})' if labels else ', or by their numbers'}"
        )
    ordered = sorted(names)
    pairs = ", ".join(f"{name} = {labels[index] if index < len(labels) else index}" for index, name in enumerate(ordered[:3]))
    more = ", ..." if len(ordered) > 3 else ""
    assumed = (
        f"its subfolders are not named after the model's classes, so they are taken in the order of their names: {pairs}{more}"
    )
    return {name: index for index, name in enumerate(ordered)}, assumed


def _check_once(folder: str, indices: Mapping[str, int]) -> None:
    seen: dict[int, str] = {}
    for name, index in indices.items():
        if index in seen:
            raise FewbitsError(f"{folder}: subfolders '{seen[index]}' and '{name}' are both class {index}: put them together")
        seen[index] = name


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:4]) + (", ..." if len(labels) > 4 else "")
