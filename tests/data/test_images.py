"""Images and labels from files."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fewbits import data, models
from fewbits.data import hub_sets
from fewbits.data.processor import ImageProcessor
from fewbits.errors import FewbitsError
from fewbits.measure.accuracy import accuracy
from tests.shared import shared_path


def npz(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


@pytest.fixture
def seven(tmp_path: Path) -> str:
    """Seven images of 4 x 4, the number of each in all its pixels, in classes 0, 1, 2."""
    images = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), dtype=np.uint8)
    return npz(tmp_path / "seven.npz", images=images, labels=np.arange(7) % 3)


def test_batches(seven: str) -> None:
    images = data.load_images(seven)
    batches = images.batches(3)
    assert (len(images), len(batches), images.source) == (7, 3, seven)
    for _ in range(2):  # as often as they are asked for
        found = list(batches)
        assert [tuple(pixels.shape) for pixels, _ in found] == [(3, 3, 4, 4), (3, 3, 4, 4), (1, 3, 4, 4)]
        assert torch.cat([pixels for pixels, _ in found])[:, 0, 0, 0].mul(255).round().tolist() == [*range(7)]
        assert torch.cat([labels for _, labels in found]).tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_a_processor_is_followed(seven: str) -> None:
    processor = ImageProcessor(config={"do_resize": False, "do_rescale": True, "rescale_factor": 2.0, "do_normalize": False})
    pixels, _ = next(iter(data.load_images(seven, processor=processor).batches(7)))
    assert pixels[:, 0, 0, 0].tolist() == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]


def test_the_first_images_and_their_hash(seven: str) -> None:
    few, all_of_them = data.load_images(seven, max_images=2), data.load_images(seven)
    assert few.labels.tolist() == [0, 1]
    assert few.sha256 != all_of_them.sha256 == data.load_images(seven).sha256
    with pytest.raises(FewbitsError, match="0 images are too few"):
        data.load_images(seven, max_images=0)


def test_a_few_of_a_sorted_set_are_of_every_class(tmp_path: Path) -> None:
    images = np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1).repeat(3, axis=3)
    np.savez(tmp_path / "sorted.npz", images=images, labels=np.array([0, 0, 0, 1, 1, 1, 2, 2]))
    few = data.load_images(str(tmp_path / "sorted.npz"), max_images=5)
    assert few.labels.tolist() == [0, 0, 1, 1, 2]
    assert few.images[:][:, 0, 0, 0].tolist() == [0, 1, 3, 4, 6]  # type: ignore[call-overload]


@pytest.mark.parametrize(("labels", "wrong"), [([0, 3], 3), ([-1, 0], -1)])
def test_labels_beyond_the_models_classes(tmp_path: Path, labels: list[int], wrong: int) -> None:
    name = npz(tmp_path / "x.npz", images=np.zeros((2, 4, 4, 3), np.uint8), labels=np.array(labels))
    with pytest.raises(FewbitsError, match=rf"has label {wrong}, the model has 3 classes"):
        data.load_images(name, num_classes=3)


IMAGES = np.zeros((2, 4, 4, 3), np.uint8)
LABELS = np.zeros(2, np.int64)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"images": IMAGES}, "has no array 'labels', only images"),
        ({}, "has no array 'images', only nothing"),
        ({"images": IMAGES.astype(np.float32), "labels": LABELS}, r"'images' is float32 \[2, 4, 4, 3\], not uint8"),
        (
            {"images": IMAGES.transpose(0, 3, 1, 2), "labels": LABELS},
            r"'images' is uint8 \[2, 3, 4, 4\].*: the channels come first",
        ),
        ({"images": IMAGES[..., 0], "labels": LABELS}, r"\[2, 4, 4\], not .*: for grey images, images\[..., None\]"),
        ({"images": IMAGES[:, :0], "labels": LABELS}, r"\[2, 0, 4, 3\], not"),
        ({"images": IMAGES + 0.5, "labels": LABELS}, r"float64 .* from 0.5 to 0.5, so \(255 \* images\)"),
        ({"images": IMAGES + 99.0, "labels": LABELS}, r"from 99 to 99, so images.astype\('uint8'\)"),
        ({"images": IMAGES - 0.5, "labels": LABELS}, "so it is normalised already"),
        ({"images": IMAGES * np.nan, "labels": LABELS}, "some of its values are NaN or infinite"),
        ({"images": IMAGES.astype(np.uint16) + 1000, "labels": LABELS}, "from 1000 to 1000: bring them to 0 to 255"),
        ({"images": IMAGES > 0, "labels": LABELS}, "'images' is bool"),
        ({"images": IMAGES, "labels": LABELS.astype(np.float32)}, "'labels' is float32.*whole numbers"),
        ({"images": IMAGES, "labels": LABELS[:, None]}, r"'labels' is int64 \[2, 1\], .*: labels\[:, 0\]"),
        ({"images": IMAGES, "labels": np.eye(2, dtype=np.int64)}, "one-hot"),
        ({"images": IMAGES, "labels": np.array(["a", "b"])}, "'labels' is <U1"),
        ({"images": IMAGES, "labels": LABELS - 1}, "has label -1: labels are class indices from 0"),
        ({"images": IMAGES, "labels": np.full(2, 2**64 - 1, np.uint64)}, "has label 18446744073709551615"),
        ({"images": IMAGES, "labels": np.array([{}, 1], dtype=object)}, "holds pickled objects, which are not read"),
        ({"images": IMAGES, "labels": LABELS[:1]}, "has 2 images and 1 labels"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "has 0 images"),
        ({"images": np.array([{}, {}]), "labels": LABELS}, "is no .npz of 'images' and 'labels': .*allow_pickle"),
    ],
)
def test_arrays_that_are_not_images(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    with pytest.raises(FewbitsError, match=said):
        data.load_images(npz(tmp_path / "x.npz", **arrays))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"hello"])
def test_files_that_are_no_npz(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(FewbitsError, match=r"is no \.npz"):
        data.load_images(str(tmp_path / "x.npz"))
    np.save(tmp_path / "x.npy", IMAGES)
    with pytest.raises(FewbitsError, match=r"is no \.npz"):
        data.load_images(str(tmp_path / "x.npy"))


def test_files_that_are_not_there(seven: str) -> None:
    with pytest.raises(FewbitsError, match=r"no such file; did you mean '.*seven\.npz'\?"):
        data.load_images(seven.replace("seven", "sven"))
    with pytest.raises(FewbitsError, match=r"no such file; did you mean 'cifar100'\?"):
        data.load_images("cifar10")


def test_digits_are_split_in_thirds() -> None:
    pytest.importorskip("sklearn")
    from fewbits.data.digits import digits

    train, test = digits("train"), digits("test")
    assert (train[0].shape, test[0].shape) == ((1198, 8, 8, 1), (599, 8, 8, 1))
    assert test[1][:4].tolist() == [0, 3, 6, 9]
    assert int(train[0].max()) == int(test[0].max()) == 16


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(FewbitsError, match=r"pip install 'fewbits\[demo\]'"):
        data.load_images("demo")


def test_digits_for_a_model_of_colours(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    config = {"do_resize": False, "do_rescale": True, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    images = data.load_images("demo", processor=ImageProcessor(config=config))
    with pytest.raises(FewbitsError, match="the images have 1 channels, the model takes 3"):
        images.pixels(0, 1)


def test_cifar100_from_its_parquet_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow: Any = pytest.importorskip("pyarrow")
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "0a1b2c"
    (folder / "cifar100").mkdir(parents=True)
    pixels = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    cells = []
    for image in pixels:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "png")
        cells.append({"bytes": buffer.getvalue(), "path": None})
    features = {"info": {"features": {"fine_label": {"names": ["apple", "baby"], "_type": "ClassLabel"}}}}
    table = pyarrow.table({"img": cells, "fine_label": [1, 0], "coarse_label": [0, 0]})
    table = table.replace_schema_metadata({b"huggingface": json.dumps(features).encode()})
    parquet.write_table(table, folder / "cifar100" / "test-00000-of-00001.parquet")
    monkeypatch.setattr(hub_sets, "snapshot", lambda *_, **__: folder)
    images = data.load_images("cifar100", num_classes=100)
    assert torch.equal(images.pixels(0, 2).mul(255).round(), torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
    assert (images.labels.tolist(), images.classes) == ([1, 0], ("apple", "baby"))
    assert images.source == "uoft-cs/cifar100@0a1b2c test"


def test_cifar100_for_a_model_that_numbers_its_classes_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    found = torch.zeros(3, 2, 2, 3, dtype=torch.uint8), torch.tensor([0, 1, 0]), ("aquarium_fish", "baby"), "cifar100"
    monkeypatch.setattr(hub_sets, "cifar100", lambda: found)
    assert data.load_images("cifar100", labels=("Baby", "aquarium fish")).labels.tolist() == [1, 0, 1]
    assert data.load_images("cifar100", labels=("LABEL_0", "LABEL_1")).labels.tolist() == [0, 1, 0]


def test_cifar100_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FewbitsError, match=r"out of reach .* instead of cifar100"):
        data.load_images("cifar100")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "right"), [("vit-cifar10", 806), ("mobilenetv2-cifar10", 882)])
def test_a_thousand_of_cifar10(name: str, right: int) -> None:
    """Of all 10,000 images 80.72 % and 86.74 % are right, as when the models were trained."""
    torch.set_num_threads(1)
    loaded = models.load(shared_path(f"models/{name}"))
    images = data.load_images(
        str(shared_path("data/cifar10_test.npz")),
        max_images=1000,
        processor=loaded.processor,
        labels=loaded.labels,
        num_classes=loaded.num_classes,
    )
    assert accuracy(loaded.model, images.batches()).value == pytest.approx(right / 1000, abs=0.0011)
