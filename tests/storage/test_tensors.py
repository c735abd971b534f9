import errno
import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from fewbits import FewbitsError
from fewbits.storage import tensors

CPU = torch.device("cpu")


def test_unique_tells_ties() -> None:
    model = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})
    model["b"].weight = model["a"].weight
    whole, tied = tensors.unique(model)
    assert set(whole) == {"a.weight", "a.bias", "b.bias"}
    assert tied == {"b.weight": "a.weight"}


def test_empty_tensors_are_not_ties() -> None:
    model = nn.Module()
    for name in "ab":
        model.register_buffer(name, torch.empty(0))
    assert set(tensors.unique(model)[0]) == {"a", "b"}


def test_views_of_one_tensor_are_written_alone(tmp_path: Path) -> None:
    large = torch.arange(100.0)
    tensors.write({"a": large[:2], "b": large[1:3], "c": large.view(10, 10).T}, tmp_path, "1MB")
    found = load_file(tmp_path / "model.safetensors")
    assert torch.equal(found["b"], large[1:3]) and torch.equal(found["c"], large.view(10, 10).T)
    assert (tmp_path / "model.safetensors").stat().st_size < 1000


def test_meta_tensor_is_refused() -> None:
    with pytest.raises(FewbitsError, match="weight: is not in memory"):
        tensors.unique(nn.Linear(2, 2, device="meta"))


def test_shards_and_index(tmp_path: Path) -> None:
    model = nn.Sequential(*(nn.Linear(16, 16, bias=False) for _ in range(5)))
    sums = tensors.write(tensors.unique(model)[0], tmp_path, 2100)
    assert sorted(sums) == [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    index = json.loads((tmp_path / tensors.INDEX).read_text())
    assert index["metadata"]["total_size"] == 5 * 16 * 16 * 4
    assert index["weight_map"]["4.weight"] == "model-00003-of-00003.safetensors"
    assert [p.name for p in tensors.files_of(tmp_path)] == sorted(sums)


def test_one_file_has_no_index(tmp_path: Path) -> None:
    assert list(tensors.write({"a": torch.ones(2)}, tmp_path, "5GB")) == ["model.safetensors"]
    assert not (tmp_path / tensors.INDEX).exists()


def test_size_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FewbitsError, match="max_shard_size is bytes"):
        tensors.write({"a": torch.ones(2)}, tmp_path, "a lot")


def test_error_of_the_system_comes_out_of_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tensors, "save_file", full)
    with pytest.raises(OSError) as caught:
        tensors.write({"a": torch.ones(2)}, tmp_path, "5GB")
    assert caught.value.errno == errno.ENOSPC


def test_missing_shard(tmp_path: Path) -> None:
    tensors.write({"a": torch.ones(9), "b": torch.ones(9)}, tmp_path, 40)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(FewbitsError, match=r"model-00002-of-00002\.safetensors: is missing"):
        tensors.files_of(tmp_path)


def fill(model: nn.Module, folder: Path, dtype: torch.dtype | None = None) -> None:
    tensors.fill(model, tensors.files_of(folder), tied={}, dtype=dtype, device=CPU)


def saved(folder: Path, **others: torch.Tensor) -> Path:
    save_file({"weight": torch.ones(2, 3), "bias": torch.ones(2)} | others, folder / "model.safetensors")
    return folder


def test_fill_casts_floats_and_keeps_requires_grad(tmp_path: Path) -> None:
    model = nn.Linear(3, 2, device="meta")
    model.bias.requires_grad_(False)
    fill(model, saved(tmp_path), torch.bfloat16)
    assert torch.equal(model.weight, torch.ones(2, 3, dtype=torch.bfloat16))
    assert model.weight.requires_grad and not model.bias.requires_grad


@pytest.mark.parametrize(
    ("model", "others", "message"),
    [
        (nn.Linear(3, 2), {"extra": torch.ones(1)}, "tensor extra: is in the saved files, but not in the model"),
        (nn.Bilinear(3, 3, 2), {}, "tensor weight: is saved as 2 x 3, but the model's is 2 x 3 x 3"),
        (nn.Linear(4, 2), {}, "tensor weight: is saved as 2 x 3, but the model's is 2 x 4"),
        (nn.BatchNorm1d(2), {}, "tensor running_mean: is missing"),
    ],
)
def test_tensors_that_do_not_fit(tmp_path: Path, model: nn.Module, others: dict[str, torch.Tensor], message: str) -> None:
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with pytest.raises(FewbitsError, match=message):
        fill(model, saved(tmp_path, **others))
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_integers_of_another_width(tmp_path: Path) -> None:
    model = nn.Module()
    model.register_buffer("scale", torch.zeros(2, dtype=torch.int32))
    save_file({"scale": torch.zeros(2, dtype=torch.int16)}, tmp_path / "model.safetensors")
    with pytest.raises(FewbitsError, match=r"tensor scale: is saved as torch\.int16"):
        fill(model, tmp_path)


def test_file_that_is_no_safetensors(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(FewbitsError, match=r"model\.safetensors: is truncated or no safetensors file"):
        fill(nn.Linear(3, 2), tmp_path)
