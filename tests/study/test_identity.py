"""Keys of a study follow content: what the model reads, not which files were touched."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fewbits.evaluate.settings import Settings
from fewbits.models.names import resolve
from fewbits.study import document, identity, reading
from fewbits.study.items import agenda, load

START = "title: t\nmodel: {}\nmeasures: {}\nmax_tokens: 400\nrows:\n  - keep\n  - uint4\n{}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    shutil.copytree(resolve("demo").folder or "", made)
    return made


def keys(folder: Path, measures: str = "[ppl]", rest: str = "") -> list[str]:
    text = START.format(folder, measures, rest)
    return [item.key for item in agenda(reading.parse(document.parse(text, "s.yaml"), text)).items]


def change_tokenizer(folder: Path) -> None:
    """Exchange two entries of the vocabulary that any text uses."""
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = data["model"]["vocab"]
    vocabulary[","], vocabulary["."] = vocabulary["."], vocabulary[","]
    path.write_text(json.dumps(data), encoding="utf-8")


def test_another_tokenizer_is_another_study(folder: Path) -> None:
    before = keys(folder)
    change_tokenizer(folder)
    assert not set(before) & set(keys(folder))


def test_figures_that_read_nothing_stay(folder: Path) -> None:
    before = keys(folder, "[size]")
    change_tokenizer(folder)
    assert before == keys(folder, "[size]")


def test_losses_of_layers_follow_the_text_whatever_is_measured(folder: Path) -> None:
    before = keys(folder, "[size]", "alone: uint2\n")
    change_tokenizer(folder)
    after = keys(folder, "[size]", "alone: uint2\n")
    assert before[:2] == after[:2] and before[2] != after[2]


def test_files_that_change_nothing_that_is_read_change_no_key(folder: Path) -> None:
    before = keys(folder)
    (folder / "README.md").write_text("new")
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=3), encoding="utf-8")
    assert before == keys(folder)


def test_other_weights_or_configuration_change_every_key(folder: Path) -> None:
    before = keys(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rope_theta": 20_000.0}))
    assert not set(before) & set(keys(folder))


def test_the_text_counts_as_far_as_it_is_read(folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("a plain text of words\n" * 1000)
    loaded, settings = load(str(folder), Settings(), weights=False), Settings(text=str(text), max_tokens=300)
    first = identity.data_digest(loaded, settings)[0]
    text.write_text("a plain text of words\n" * 1000 + "more")
    assert identity.data_digest(loaded, settings)[0] == first
    assert identity.data_digest(loaded, replace(settings, max_tokens=301))[0] != first
    text.write_text("A plain text of words\n" * 1000)
    assert identity.data_digest(loaded, settings)[0] != first


def test_images_count_with_labels_and_preparation(tmp_path: Path) -> None:
    loaded = load("demo-vision", Settings(), weights=False)
    images = np.random.default_rng(0).integers(0, 255, (20, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(20) % 10

    def digest(images: np.ndarray, labels: np.ndarray, name: str = "a.npz") -> str:
        np.savez(tmp_path / name, images=images, labels=labels)
        os.utime(tmp_path / name, (1, 1))
        return identity.data_digest(loaded, Settings(images=str(tmp_path / name)))[0]

    first = digest(images, labels)
    assert digest(images, labels, "b.npz") == first
    assert digest(images, np.roll(labels, 1)) != first
    changed = images.copy()
    changed[-1, 0, 0, 0] ^= 1
    assert digest(changed, labels) != first
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    other = replace(loaded, processor=None)
    assert identity.data_digest(other, Settings(images=str(tmp_path / "a.npz")))[0] != first
