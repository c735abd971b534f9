"""A folder with a subfolder per class."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from fewbits import data
from fewbits.data.image_folder import find
from fewbits.data.processor import ImageProcessor
from fewbits.errors import FewbitsError


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Three cats and one dog, the shade of each its number; a note among them, and a folder without pictures."""
    folder = tmp_path / "pets"
    for number, name in enumerate(("cat/1.png", "cat/2.png", "cat/3.JPG", "dog/1.png")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4 + number, 4), 10 * number).save(path, "png")
    (folder / "cat" / "note.txt").write_text("a note")
    (folder / "empty").mkdir()
    return folder


def test_subfolders_are_the_models_classes_by_their_names(pets: Path) -> None:
    found = find(pets, ("dog", "cow", "cat"), 3)
    assert (found.labels.tolist(), found.classes) == ([2, 2, 2, 0], ("cat", "dog"))
    assert [path.name for path in found.paths] == ["1.png", "2.png", "3.JPG", "1.png"]


def test_without_names_the_order_is_the_alphabets(pets: Path) -> None:
    assert find(pets, ("kitty", "doggy"), 2).labels.tolist() == [0, 0, 0, 1]
    assert find(pets, (), None).labels.tolist() == [0, 0, 0, 1]


def test_subfolders_that_are_no_classes(pets: Path) -> None:
    with pytest.raises(FewbitsError, match=r"subfolder 'dog' is none of the model's classes \(cat, cow\)"):
        find(pets, ("cat", "cow"), 2)
    with pytest.raises(FewbitsError, match="has 2 subfolders, the model 3 classes, and no name is the same"):
        find(pets, ("a", "b", "c"), 3)
    with pytest.raises(FewbitsError, match="has no subfolders with images"):
        find(pets / "cat", (), None)


def test_the_first_are_an_equal_share(pets: Path) -> None:
    found = find(pets, (), None)
    assert found.first(2).labels.tolist() == [0, 1]
    assert [path.name for path in found.first(3).paths] == ["1.png", "2.png", "1.png"]
    assert len(found.first(None)) == len(found.first(9)) == 4


def test_images_of_many_sizes_are_resized_to_one(pets: Path) -> None:
    config = {"do_resize": True, "size": {"height": 4, "width": 4}, "do_rescale": False, "do_normalize": False}
    images = data.load_images(str(pets), processor=ImageProcessor(config=config))
    pixels, labels = next(iter(images.batches(4)))
    assert pixels.shape == (4, 3, 4, 4)
    assert torch.allclose(pixels[:, 0, 0, 0], torch.tensor([0.0, 10.0, 20.0, 30.0]), atol=1e-4)
    assert labels.tolist() == [0, 0, 0, 1]


def test_images_of_many_sizes_and_no_resizing(pets: Path) -> None:
    with pytest.raises(FewbitsError, match=r"the images differ in size .4 x 4, 4 x 5, 4 x 6. and"):
        data.load_images(str(pets)).pixels(0, 4)


def test_the_hash_is_of_the_files(pets: Path) -> None:
    before = data.load_images(str(pets)).sha256
    assert data.load_images(str(pets)).sha256 == before
    Image.new("L", (4, 4), 99).save(pets / "cat" / "1.png")
    assert data.load_images(str(pets)).sha256 != before


def test_a_broken_image(pets: Path) -> None:
    (pets / "dog" / "1.png").write_bytes(b"broken")
    images = data.load_images(str(pets))
    with pytest.raises(FewbitsError, match=r"1\.png: cannot be read as an image"):
        images.pixels(3, 4)
