"""Saved folders where fewbits is not installed: transformers must refuse them, or load the right model."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

import fewbits
from fewbits.storage import checksums
from tests.storage import tiny

# In a process of its own, in which fewbits cannot be imported. torchvision's wheel may not fit torch's: see fewbits/hooks.py.
WITHOUT = """
import sys

sys.modules["fewbits"] = sys.modules["torchvision"] = None
import json, transformers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification, LlamaConfig

transformers.logging.set_verbosity_error()
ways = []

def own_config(kind):
    data = {k: v for k, v in AutoConfig.from_pretrained(folder).to_dict().items() if not k.startswith(("quant", "transf"))}
    return transformers.LlamaForCausalLM.from_pretrained(folder, config=LlamaConfig(**data))

def unquantized_config(kind):
    config = AutoConfig.from_pretrained(folder)
    del config.quantization_config
    return AutoModelForCausalLM.from_pretrained(folder, config=config)

def mismatched(kind):
    return kind.from_pretrained(folder, ignore_mismatched_sizes=True)

def plain(kind):
    return kind.from_pretrained(folder)

def pipeline(kind):
    return transformers.pipeline("text-generation", model=folder)

def wrapper(kind):
    return transformers.AutoModelForImageClassification.from_pretrained(folder, ignore_mismatched_sizes=True)

for folder, name in json.load(sys.stdin):
    way, _, kind = name.partition(":")
    try:
        globals()[way](getattr(transformers, kind or "AutoModelForCausalLM"))
        ways.append("LOADED")
    except Exception as error:
        ways.append(str(error))
print(json.dumps(ways))
"""
PLAIN = ["plain", "plain:LlamaForCausalLM", "plain:AutoModelForSequenceClassification", "pipeline", "unquantized_config"]
MISMATCHED = ["mismatched", "mismatched:LlamaForCausalLM", "mismatched:AutoModel", "plain:AutoModel"]


def folders(place: Path) -> dict[str, Path]:
    """A language model saved by fewbits, and by transformers after quantizing and after loading; a classifier of timm."""
    model = tiny.quantized("llama")
    found = {"ours": fewbits.save(model, place / "ours"), "quantized": place / "quantized", "loaded": place / "loaded"}
    model.save_pretrained(found["quantized"])
    AutoModelForCausalLM.from_pretrained(found["ours"]).save_pretrained(found["loaded"])
    for name in ("quantized", "loaded"):
        assert tiny.differences(model, fewbits.load(found[name])) == []
    return found


def test_transformers_alone_refuses_every_folder(tmp_path: Path) -> None:
    found = folders(tmp_path)
    tries = [("ours", way) for way in (*PLAIN, *MISMATCHED, "own_config")]
    tries += [(name, way) for name in ("quantized", "loaded") for way in (*PLAIN, "own_config")]
    if importlib.util.find_spec("timm"):
        found["timm"] = fewbits.save(timm_model(), tmp_path / "timm")
        tries.append(("timm", "wrapper"))
    given = json.dumps([(str(found[name]), way) for name, way in tries])
    done = subprocess.run([sys.executable, "-c", WITHOUT], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = dict(zip(tries, json.loads(done.stdout.splitlines()[-1]), strict=True))
    assert [t for t in tries if said[t] == "LOADED"] == []
    assert all("`import fewbits` before from_pretrained" in said["ours", way] for way in (*PLAIN, *MISMATCHED)), said
    assert "ignore_mismatched_sizes" in said["ours", "own_config"]


def timm_model() -> nn.Module:
    import timm

    return fewbits.quantize(
        timm.create_model("mobilenetv3_small_050", num_classes=3), {"blocks.5.0.conv": "rtn:int8", "*": "keep"}
    )


def test_timm_alone_refuses_its_folder(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    folder = fewbits.save(timm_model(), tmp_path / "out")
    with pytest.raises(RuntimeError, match=r"Error.* loading state_dict"):
        timm.create_model(f"local-dir:{folder}", pretrained=True)


def test_weights_read_by_safetensors_alone(tmp_path: Path) -> None:
    from safetensors.torch import load_model

    folder = fewbits.save(tiny.quantized("llama"), tmp_path / "out")
    with pytest.raises(RuntimeError, match=r"Error.* loading state_dict"):
        load_model(tiny.llama(), folder / "model.safetensors")
    with pytest.raises(RuntimeError, match=r"Error.* loading state_dict"):
        tiny.llama().load_state_dict(load_file(folder / "model.safetensors"))
    with pytest.raises(RuntimeError, match="size mismatch"):
        tiny.llama().load_state_dict(load_file(folder / "model.safetensors"), strict=False)


@pytest.mark.parametrize("name", ["llama", "vit", "net"])
def test_folders_of_earlier_versions(tmp_path: Path, name: str) -> None:
    """They have neither the instruction nor the guards, nor the list of files."""
    model = tiny.net() if name == "net" else tiny.quantized(name)
    folder = fewbits.save(model, tmp_path / "out")
    as_it_was(folder)
    loaded = fewbits.load(folder, model=tiny.Net()) if name == "net" else fewbits.load(folder)
    assert tiny.differences(model, loaded) == []
    fewbits.save(loaded, folder, force=True)


def as_it_was(folder: Path) -> None:
    """Make a folder what version 0.1.0 wrote."""
    weights = folder / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(weights).items() if tensor.shape != (0,)}
    save_file(kept, weights, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    del config["transformers_weights"], config["quantization_config"]["written"]
    config["quantization_config"]["files"] = checksums.of_files([weights])
    (folder / "config.json").write_text(json.dumps(config))


def test_nothing_is_warned_of_with_fewbits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = fewbits.save(tiny.quantized("llama"), tmp_path / "out")
    AutoModelForCausalLM.from_pretrained(folder)
    assert "UNEXPECTED" not in caplog.text and "transformers_weights" not in caplog.text
    assert AutoConfig.from_pretrained(folder).transformers_weights  # it stays for whoever loads by this configuration
    assert isinstance(AutoModelForCausalLM.from_pretrained(folder, config=AutoConfig.from_pretrained(folder)), nn.Module)
