"""Folders and the classes that they mean."""

import pytest

from fewbits.data.class_names import class_indices
from fewbits.errors import FewbitsError

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
IMAGENET = (
    "tench, Tinca tinca",
    "great white shark, white shark",
    "crane",
    "crane, tower crane",
    "cardigan",
    "Cardigan, Welsh corgi",
)


def numbers(*names: object) -> list[str]:
    return sorted(map(str, names))


@pytest.mark.parametrize(
    ("names", "labels", "indices"),
    [
        (["Cat", "DOG", " Deer "], CIFAR, [3, 5, 4]),
        (["great_white_shark", "Tinca-Tinca"], IMAGENET, [1, 0]),
        (["tench, tinca tinca"], IMAGENET, [0]),
        (["tower crane", "welsh__corgi"], IMAGENET, [3, 5]),
        (["cardigan"], IMAGENET, [4]),
        (["cafe\u0301", "stra\u00dfe"], ("STRASSE", "caf\u00e9"), [1, 0]),
        (["LABEL_1", "label 0"], ("LABEL_0", "LABEL_1"), [1, 0]),
        (["Cat", "cat"], ("cat", "Cat"), [1, 0]),
        (["2", "10", "1"], ("1", "2", "10"), [1, 2, 0]),  # the names win
    ],
)
def test_by_name(names: list[str], labels: tuple[str, ...], indices: list[int]) -> None:
    found, assumed = class_indices("pets", names, labels, len(labels))
    assert ([found[name] for name in names], assumed) == (indices, None)


@pytest.mark.parametrize(
    ("names", "classes", "first"),
    [
        (numbers(*range(10)), 10, 0),
        (numbers(*range(1, 11)), 10, 1),
        ([f"{i:03}" for i in range(1, 11)], 10, 1),
        (numbers(1, 2, 5), 10, 0),
        (numbers(3, 10), 10, 1),
        (numbers(*range(100)), 1000, 0),
        (numbers(7), 10, 0),
        (numbers(*range(1, 13)), None, 1),
        (numbers(0, 2, 11), None, 0),
        (numbers(2, 11), None, 0),
    ],
)
@pytest.mark.parametrize("labels", [(), CIFAR])
def test_by_number(names: list[str], classes: int | None, first: int, labels: tuple[str, ...]) -> None:
    found, assumed = class_indices("pets", names, labels, classes)
    assert found == {name: int(name) - first for name in names}
    assert assumed is not None and f"class indices from {first}, " in assumed


def test_by_order_says_so() -> None:
    found, assumed = class_indices("pets", ["b", "a", "c"], ("x", "y", "z"), 3)
    assert found == {"a": 0, "b": 1, "c": 2}
    assert assumed is not None and "in the order of their names: a = x, b = y, c = z" in assumed


@pytest.mark.parametrize(
    ("names", "labels", "classes", "said"),
    [
        (["cat", "hrose"], CIFAR, 10, r"subfolder 'hrose' is none of the model's classes .*; did you mean 'horse'\?"),
        (["cat", "3"], CIFAR, 10, "subfolder '3' is none"),
        (["Cat", "cat"], CIFAR, 10, "'Cat' and 'cat' are both class 3"),
        (["white shark", "great white shark"], IMAGENET, 6, "are both class 1"),
        (["Crane "], ("crane", "Crane"), 2, r"'Crane ' could be class 0 \('crane'\) and 1 \('Crane'\)"),
        (["1", "01"], CIFAR, 10, "'1' and '01' are both class 1"),
        (["0", "10"], CIFAR, 10, r"'10' is no class: there are 10 \(0 to 9, or 1 to 10\)"),
        (["5", "11"], CIFAR, 10, "'11' is no class"),
        (["20230101"], (), None, "'20230101' is no class"),
        (["9" * 200], (), None, "is no class"),
        (["1", "2", "3"], ("0", "1", "2"), 3, "'1' is the model's class 1 by its name and 0 by its number"),
        (["a", "b"], CIFAR, 10, "has 2 subfolders, the model 10 classes, and no name is the same"),
        (["a", "b", "c"], (), 2, "has 3 subfolders, the model 2 classes"),
        (["one"], CIFAR, 10, "has 1 subfolders"),
    ],
)
def test_refused(names: list[str], labels: tuple[str, ...], classes: int | None, said: str) -> None:
    with pytest.raises(FewbitsError, match=rf"^pets: .*{said}"):
        class_indices("pets", names, labels, classes)
