"""Weight files: safetensors, all there, none cut short."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fewbits.errors import FewbitsError
from fewbits.models.weights import INDEX, SINGLE, check_weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shards and their index."""
    for name in ("a", "b"):
        save_file({name: torch.zeros(100)}, tmp_path / f"{name}.safetensors")
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}))
    return tmp_path


def test_whole_shards_and_a_whole_file_pass(folder: Path) -> None:
    check_weights(folder)
    save_file({"x": torch.zeros(1)}, folder / SINGLE)
    check_weights(folder)


def test_a_missing_shard(folder: Path) -> None:
    (folder / "b.safetensors").unlink()
    with pytest.raises(FewbitsError, match=r"b\.safetensors: is missing, one of 2 shards"):
        check_weights(folder)


@pytest.mark.parametrize("kept", [0, 4, 50, 400])
def test_a_truncated_shard(folder: Path, kept: int) -> None:
    path = folder / "b.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FewbitsError, match=r"b\.safetensors: is truncated"):
        check_weights(folder)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"weight_map": 1}'])
def test_a_broken_index(folder: Path, text: str) -> None:
    (folder / INDEX).write_text(text)
    with pytest.raises(FewbitsError, match="is no index of shards"):
        check_weights(folder)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("pytorch_model.bin", "a pickle can run code"),
        ("model.ckpt", "a pickle can run code"),
        ("model.gguf", "give the original model in safetensors"),
        ("readme.txt", "only safetensors are read"),
    ],
)
def test_other_kinds_of_weights_are_refused_with_the_reason(tmp_path: Path, file: str, said: str) -> None:
    (tmp_path / file).write_bytes(b"x")
    with pytest.raises(FewbitsError, match=said):
        check_weights(tmp_path)
