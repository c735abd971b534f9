import errno
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

import fewbits
from fewbits import FewbitsError, planfile
from fewbits.measure.result import Measure
from fewbits.storage import save as saving
from fewbits.storage import tensors
from fewbits.storage.load import original_of
from tests.storage import tiny


class Tokenizer:
    def save_pretrained(self, folder: str | Path) -> None:
        Path(folder, "tokenizer.json").write_text("{}")


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_what_is_written(tmp_path: Path) -> None:
    model = tiny.quantized("llama")
    measure = Measure(name="size", value=5, unit="B")
    folder = fewbits.save(model, tmp_path / "out", tokenizer=Tokenizer(), measures=[measure], source="owner/name")
    assert folder == tmp_path / "out"
    assert names(folder) == [
        *("README.md", "config.json", "generation_config.json", "measurements.json"),
        *("model.safetensors", "plan.yaml", "tokenizer.json"),
    ]
    assert planfile.read(folder / "plan.yaml") == fewbits.plan_of(model)
    document = json.loads((folder / "measurements.json").read_text())
    assert document["results"][0]["measures"] == {"size": {"value": 5, "unit": "B"}}
    assert document["results"][0]["model"] == "owner/name" and document["machine"]["cpu"]
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"] and config["model_type"] == "llama"
    assert list(config["quantization_config"]["files"]) == ["model.safetensors"]


def test_who_may_read_the_config_may_read_the_weights(tmp_path: Path) -> None:
    folder = fewbits.save(tiny.quantized("llama"), tmp_path / "out")
    assert {oct(p.stat().st_mode & 0o777) for p in folder.iterdir()} == {oct((folder / "config.json").stat().st_mode & 0o777)}
    assert (folder / "config.json").stat().st_mode & 0o400


def test_model_in_memory_knows_its_plan_as_transformers_does(tmp_path: Path) -> None:
    model = tiny.quantized("llama")
    fewbits.save(model, tmp_path / "out")
    assert model.config.quantization_config["quant_method"] == "fewbits"
    assert not model.config.quantization_config["files"]


def test_generation_settings_that_transformers_refuses_to_save(tmp_path: Path) -> None:
    model = tiny.quantized("llama")
    model.generation_config.temperature = 0.5  # with do_sample off: some models of the hub have it so
    fewbits.save(model, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text())["temperature"] == 0.5


def test_unquantized_model(tmp_path: Path) -> None:
    with pytest.raises(FewbitsError, match="not quantized by fewbits"):
        fewbits.save(tiny.Net(), tmp_path / "out")
    assert names(tmp_path) == []


def test_existing_folder_and_force(tmp_path: Path) -> None:
    fewbits.save(tiny.net("rtn:int4"), tmp_path / "out")
    with pytest.raises(FewbitsError, match="exists already"):
        fewbits.save(tiny.net("rtn:int8"), tmp_path / "out")
    assert str(fewbits.plan_of(fewbits.load(tmp_path / "out", model=tiny.Net()))) == "rtn:int4"
    fewbits.save(tiny.net("rtn:int8"), tmp_path / "out", force=True, max_shard_size=600)
    assert "model.safetensors" not in names(tmp_path / "out")
    assert str(fewbits.plan_of(fewbits.load(tmp_path / "out", model=tiny.Net()))) == "rtn:int8"


def test_folder_of_the_original(tmp_path: Path) -> None:
    tiny.llama().save_pretrained(tmp_path / "original")
    model = fewbits.quantize(type(tiny.llama()).from_pretrained(tmp_path / "original"), "rtn:int8")
    for source in (None, str(tmp_path / "original"), "owner/name"):
        with pytest.raises(FewbitsError, match="folder of the original"):
            fewbits.save(model, tmp_path / "original", source=source, force=True)
    assert "quantization_config" not in (tmp_path / "original" / "config.json").read_text()


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fewbits.save(tiny.net("rtn:int4"), tmp_path / "out")

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tensors, "save_file", full)
    for folder, force in ((tmp_path / "new", False), (tmp_path / "out", True)):
        with pytest.raises(FewbitsError, match="cannot be written: No space left on device") as caught:
            fewbits.save(tiny.net("rtn:int8"), folder, force=force)
        assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["out"]
    assert str(fewbits.plan_of(fewbits.load(tmp_path / "out", model=tiny.Net()))) == "rtn:int4"


def test_disk_that_is_full_at_the_last_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(saving, "_write_records", full)
    with pytest.raises(FewbitsError, match="No space left on device"):
        fewbits.save(tiny.net(), tmp_path / "out")
    assert names(tmp_path) == []


def test_original_is_remembered_through_a_second_save(tmp_path: Path) -> None:
    first = fewbits.save(tiny.quantized("llama"), tmp_path / "first", source="owner/name@abc")
    second = fewbits.save(fewbits.load(first), tmp_path / "second")
    third = fewbits.save(fewbits.load(first), tmp_path / "third", source=str(first))
    assert [original_of(f) for f in (first, second, third)] == ["owner/name@abc"] * 3


def test_original_of_other_folders(tmp_path: Path) -> None:
    assert original_of("demo") is None
    assert original_of(tmp_path) is None


def test_loaded_model_can_be_saved_over_its_own_folder(tmp_path: Path) -> None:
    model = tiny.quantized("llama")
    folder = fewbits.save(model, tmp_path / "out")
    loaded = fewbits.load(folder)
    fewbits.save(loaded, folder, force=True)
    assert tiny.differences(model, fewbits.load(folder)) == []
    assert tiny.differences(model, loaded) == []  # its tensors lay in the files that were replaced


def test_tensors_of_a_sharded_load_are_sharded_again(tmp_path: Path) -> None:
    folder = fewbits.save(tiny.quantized("llama"), tmp_path / "one", max_shard_size="2KB")
    again = fewbits.save(fewbits.load(folder), tmp_path / "two", max_shard_size="2KB")
    assert names(folder) == names(again) and len(list(folder.glob("model-*"))) > 2
    assert torch.equal(tiny.output(fewbits.load(folder)), tiny.output(fewbits.load(again)))
