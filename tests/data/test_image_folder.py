"""A folder with a subfolder per class."""

import logging
import shutil
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


def test_numbered_folders_are_class_indices(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Sorted as text, 10 would come before 2."""
    for number in range(1, 11):
        (tmp_path / str(number)).mkdir()
        Image.new("L", (2, 2), number).save(tmp_path / str(number) / "a.png")
    with caplog.at_level(logging.WARNING, "fewbits"):
        images = data.load_images(str(tmp_path), labels=list("abcdefghij"), num_classes=10)
    pixels = images.pixels(0, 10)[:, 0, 0, 0].mul(255).round().int()
    assert (pixels - 1).tolist() == images.labels.tolist()
    assert "its subfolders are taken as class indices from 1, 1 to 10" in caplog.text


def test_what_systems_leave_behind(pets: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in (".DS_Store", "cat/.DS_Store", "cat/._1.png", "cat/Thumbs.db", "dog/desktop.ini"):
        (pets / name).write_bytes(b"junk")
    for name in (".cache", "__MACOSX"):
        (pets / name).mkdir()
        Image.new("L", (4, 4)).save(pets / name / "1.png")
    with caplog.at_level(logging.WARNING, "fewbits"):
        found = data.load_images(str(pets), labels=("dog", "cat"), num_classes=2)
    assert (found.labels.tolist(), found.classes, caplog.text) == ([1, 1, 1, 0], ("cat", "dog"), "")


def test_what_is_left_out_is_said(pets: Path) -> None:
    (pets / "dog" / "0.jpg").touch()
    (pets / "dog" / "2.heic").write_bytes(b"some")
    Image.new("L", (4, 4)).save(pets / "loose.png")
    said = " ".join(find(pets, ("dog", "cat"), 2).assumed)
    assert "1 empty files are left out, such as 0.jpg" in said
    assert "1 files of types that are not read are left out, such as 2.heic" in said
    assert "1 images are in no subfolder and left out" in said


def test_images_may_lie_deeper(pets: Path) -> None:
    (pets / "cat" / "more").mkdir()
    (pets / "cat" / "1.png").rename(pets / "cat" / "more" / "1.png")
    assert find(pets, ("dog", "cat"), 2).labels.tolist() == [1, 1, 1, 0]


def test_parts_of_a_data_set_are_no_classes(pets: Path) -> None:
    with pytest.raises(FewbitsError, match=r"its subfolder 'pets' is a part|has 1 subfolders"):
        find(pets.parent, ("dog", "cat"), 2)
    for name in ("train", "Val"):
        shutil.copytree(pets, pets.parent / "set" / name)
    with pytest.raises(FewbitsError, match=r"subfolder 'Val' is a part of the data, not a class: give .*set/Val"):
        find(pets.parent / "set", (), None)
    (pets / "train").mkdir()
    Image.new("L", (4, 4)).save(pets / "train" / "1.png")
    assert find(pets, ("train", "cat", "dog"), 3).labels.tolist() == [1, 1, 1, 2, 0]


def test_images_without_subfolders(pets: Path) -> None:
    with pytest.raises(FewbitsError, match="has no subfolders with images; its 3 images are in none"):
        find(pets / "cat", (), None)


def test_a_model_of_one_channel_reads_a_folder_as_grey(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.new("RGB", (2, 2), (200, 100, 50)).save(tmp_path / "a" / "1.png")
    steps = {
        "do_rescale": False,
        "do_normalize": True,
        "image_mean": [1.0, 2.0, 3.0],
        "image_std": [1.0] * 3,
        "do_resize": False,
    }
    images = data.load_images(str(tmp_path), processor=ImageProcessor(config=steps), channels=1)
    grey = Image.new("RGB", (1, 1), (200, 100, 50)).convert("L").getpixel((0, 0))
    assert images.pixels(0, 1).flatten().tolist() == [grey - 2.0] * 4
    with pytest.raises(FewbitsError, match="has means of 3 channels, the model takes 4 channels"):
        data.load_images(str(tmp_path), processor=ImageProcessor(config=steps), channels=4)
