"""What is read from a saved folder is exactly what its manifest lists, inside the folder, unchanged."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import fewbits
from fewbits import FewbitsError
from fewbits.storage.checksums import sha256
from tests.storage import tiny

INDEX = "model.safetensors.index.json"
Way = Callable[[Path], Any]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return fewbits.save(tiny.quantized("llama"), tmp_path / "out", max_shard_size="2KB")


@pytest.fixture
def single(tmp_path: Path) -> Path:
    return fewbits.save(tiny.quantized("llama"), tmp_path / "out")


def manifest(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["quantization_config"] |= changes
    path.write_text(json.dumps(config))


def files_of(folder: Path) -> dict[str, str]:
    return json.loads((folder / "config.json").read_text())["quantization_config"]["files"]


def index(folder: Path, **changes: str) -> None:
    path = folder / INDEX
    data = json.loads(path.read_text())
    data["weight_map"] |= changes
    path.write_text(json.dumps(data))


def altered(path: Path, to: Path) -> Path:
    """The file with other numbers."""
    tensors = load_file(path)
    save_file({name: torch.zeros_like(tensor) for name, tensor in tensors.items()}, to, metadata={"format": "pt"})
    return to


def test_a_decoy_in_files(single: Path, way: Way) -> None:
    """The sums are right, of a file that nobody reads."""
    shutil.copy(single / "model.safetensors", single / "decoy.safetensors")
    manifest(single, files={"decoy.safetensors": sha256(single / "decoy.safetensors")})
    altered(single / "decoy.safetensors", single / "model.safetensors")
    with pytest.raises(FewbitsError, match=r"model\.safetensors: has no checksum in config\.json"):
        way(single)


def test_a_file_that_is_listed_and_not_read(single: Path, way: Way) -> None:
    shutil.copy(single / "model.safetensors", single / "more.safetensors")
    manifest(single, files={**files_of(single), "more.safetensors": sha256(single / "more.safetensors")})
    with pytest.raises(FewbitsError, match=r"more\.safetensors: has a checksum in config\.json, but is no weight file"):
        way(single)


def test_a_single_file_before_the_shards(shards: Path, way: Way) -> None:
    """Transformers reads `model.safetensors` if there is one, whatever the index says."""
    first = sorted(shards.glob("model-*.safetensors"))[0]
    altered(first, shards / "model.safetensors")
    with pytest.raises(FewbitsError, match=r"holds both|has no checksum"):
        way(shards)


def test_an_index_that_names_an_unlisted_file(shards: Path, way: Way) -> None:
    first = sorted(shards.glob("model-*.safetensors"))[0]
    altered(first, shards / "decoy.safetensors")
    name = sorted(load_file(first))[0]
    index(shards, **{name: "decoy.safetensors"})
    with pytest.raises(FewbitsError, match=r"decoy\.safetensors: has no checksum"):
        way(shards)


@pytest.mark.parametrize("name", ["../outside.safetensors", "ABSOLUTE"])
def test_names_in_the_index_stay_inside(shards: Path, name: str) -> None:
    first = sorted(shards.glob("model-*.safetensors"))[0]
    outside = Path(shutil.copy(first, shards.parent / "outside.safetensors"))
    index(shards, **{sorted(load_file(first))[0]: str(outside) if name == "ABSOLUTE" else name})
    with pytest.raises(FewbitsError, match=r"index\.json: names .*outside its folder"):
        fewbits.load(shards)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/hostname"])
def test_names_in_the_manifest_stay_inside(single: Path, way: Way, name: str) -> None:
    shutil.copy(single / "model.safetensors", single.parent / "outside.safetensors")
    manifest(single, files={**files_of(single), name: "0" * 64})
    with pytest.raises(FewbitsError, match=r"config\.json: names .*outside its folder"):
        way(single)


def test_a_link_out_of_the_folder(single: Path, way: Way) -> None:
    outside = single.parent / "outside.safetensors"
    (single / "model.safetensors").rename(outside)
    (single / "model.safetensors").symlink_to(outside)
    with pytest.raises(FewbitsError, match=r"is a link to .*outside its folder: copy that file in its place"):
        way(single)


def test_a_snapshot_of_the_hubs_cache(single: Path, way: Way) -> None:
    """Its files are links to blobs."""
    repository = single.parent / "models--owner--name"
    snapshot, blobs = repository / "snapshots" / "0a1b2c", repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in single.iterdir():
        path.rename(blobs / f"blob-{path.name}")
        (snapshot / path.name).symlink_to(f"../../blobs/blob-{path.name}")
    assert tiny.differences(tiny.quantized("llama"), way(snapshot).eval()) == []


def test_no_checksums_at_all(single: Path, way: Way) -> None:
    manifest(single, files={})
    with pytest.raises(FewbitsError, match=r"lists no checksums, but plan\.yaml says that fewbits saved it"):
        way(single)


def test_what_transformers_saved_has_no_checksums_and_says_so(
    tmp_path: Path, way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny.quantized("llama")
    model.save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING, "fewbits"):
        assert tiny.differences(model, way(tmp_path).eval()) == []
    assert "has no checksums" in caplog.text


@pytest.mark.parametrize("digest", ["", "0" * 63, "x" * 64, "../x"])
def test_checksums_that_are_none(single: Path, way: Way, digest: str) -> None:
    manifest(single, files={"model.safetensors": digest})
    with pytest.raises(FewbitsError, match=r"the checksum of 'model\.safetensors' in config\.json is .*, not a sha256"):
        way(single)


def test_one_tensor_in_two_shards(shards: Path, way: Way) -> None:
    first, second = sorted(shards.glob("model-*.safetensors"))[:2]
    tensors = load_file(second)
    name, tensor = sorted(load_file(first).items())[0]
    save_file({**tensors, name: torch.zeros_like(tensor)}, second, metadata={"format": "pt"})
    manifest(shards, files={**files_of(shards), second.name: sha256(second)})
    with pytest.raises(FewbitsError, match=f"tensor {name}: is in .*{first.name} and in {second.name}: which one is right"):
        way(shards)


def test_the_manifest_cannot_say_that_it_was_checked(single: Path, way: Way) -> None:
    altered(single / "model.safetensors", single / "model.safetensors")
    manifest(single, checked="Checked")
    with pytest.raises(FewbitsError, match="truncated or altered"):
        way(single)


def test_another_dtype_than_was_saved(single: Path) -> None:
    path = single / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dtype": "float16"}))
    with pytest.raises(FewbitsError, match=r"config\.json says dtype float16, its quantization_config float32"):
        fewbits.load(single)
    assert fewbits.load(single, model=tiny.llama()) is not None
