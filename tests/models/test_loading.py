"""Models by name, from beginning to end."""

import json
import logging
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import errors

from fewbits import models
from fewbits.errors import FewbitsError
from fewbits.models.loaded import Loaded
from fewbits.storage import load as storage_load
from tests.models.folders import edit, saved, tiny_gpt2, tiny_llama, tiny_vit
from tests.shared import shared_path

DEMO = Path(models.__file__).parent / "demo"


def test_the_demo_has_all_it_needs() -> None:
    loaded = models.load("demo")
    assert (loaded.name, loaded.source, loaded.task) == ("demo", "demo", "causal-lm")
    assert not loaded.model.training
    assert next(loaded.model.parameters()).dtype == torch.bfloat16
    assert sum(p.numel() for p in loaded.model.parameters()) == 7_999_744
    assert loaded.tokenizer.decode(loaded.tokenizer("A test.", add_special_tokens=False)["input_ids"]) == "A test."


def test_a_model_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    for number, model in enumerate((tiny_llama(), tiny_gpt2(), tiny_vit())):
        loaded = models.load(saved(model, tmp_path / str(number), max_shard_size="20KB"))
        state = loaded.model.state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
        assert loaded.source == str(loaded.folder) == str((tmp_path / str(number)).resolve())
        assert loaded.tokenizer is None


def test_dtype_is_as_stored_unless_told(tmp_path: Path) -> None:
    folder = saved(tiny_llama().half(), tmp_path)
    dtypes = {name: next(models.load(folder, dtype=name).model.parameters()).dtype for name in ("auto", "float32", "bf16")}
    assert dtypes == {"auto": torch.float16, "float32": torch.float32, "bf16": torch.bfloat16}


def test_a_classifier_has_labels_and_processor(tmp_path: Path) -> None:
    folder = saved(tiny_vit(id2label={0: "cat", 1: "dog", 2: "eel"}), tmp_path)
    (folder / "preprocessor_config.json").write_text('{"do_resize": false}')
    for weights in (True, False):
        loaded = models.load(folder, weights=weights)
        assert (loaded.task, loaded.labels, loaded.num_classes) == ("image-classification", ("cat", "dog", "eel"), 3)
        assert loaded.processor is not None and loaded.processor.config == {"do_resize": False}


@pytest.mark.parametrize("tied", [True, False])
def test_without_weights_the_model_is_the_same_on_the_meta_device(tmp_path: Path, tied: bool) -> None:
    full = tiny_llama(tie_word_embeddings=tied, dtype="bfloat16")
    full.config.save_pretrained(tmp_path)
    loaded = models.load(tmp_path, weights=False)
    shapes = {name: tensor.shape for name, tensor in loaded.model.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in full.state_dict().items()}
    assert all(p.is_meta and p.dtype == torch.bfloat16 for p in loaded.model.parameters())
    assert (loaded.model.get_parameter("lm_head.weight") is loaded.model.get_parameter("model.embed_tokens.weight")) == tied
    assert not loaded.model.training


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    folder = edit(saved(tiny_llama(), tmp_path), num_hidden_layers=3)
    with pytest.raises(FewbitsError, match=r"its weights lack model\.layers\.2\.input_layernorm\.weight, .* and 6 more"):
        models.load(folder)


def test_weights_of_other_sizes_are_refused(tmp_path: Path) -> None:
    folder = edit(saved(tiny_llama(), tmp_path), vocab_size=65)
    with pytest.raises(FewbitsError, match=r"embed_tokens\.weight is stored as \[64, 32\], by config\.json it is \[65, 32\]"):
        models.load(folder)


def test_weights_without_a_place_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = edit(saved(tiny_llama(), tmp_path), num_hidden_layers=1)
    with caplog.at_level(logging.WARNING, "fewbits"):
        models.load(folder)
    assert [r.getMessage().count("no place for model.layers.1.") for r in caplog.records] == [1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_size": "many"}, "transformers cannot use its config.json: .*hidden_size"),
        ({"hidden_act": "nothing"}, "transformers cannot (build it|load it|use)"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantized already, by gptq"),
        ({"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}, "--trust-remote-code"),
    ],
)
@pytest.mark.parametrize("weights", [True, False])
def test_bad_configurations(tmp_path: Path, changes: dict[str, Any], said: str, weights: bool) -> None:
    folder = edit(saved(tiny_llama(), tmp_path), **changes)
    with pytest.raises(FewbitsError, match=said) as raised:
        models.load(folder, weights=weights)
    assert "\n" not in str(raised.value)


CODE = """
from transformers import LlamaConfig, LlamaForCausalLM
class OwnConfig(LlamaConfig):
    model_type = "own"
class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.mark.parametrize("weights", [True, False])
def test_code_of_a_folder_that_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: bool) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "code"))
    monkeypatch.setattr(sys, "path", [*sys.path])  # transformers puts the folder of the code there
    folder = saved(tiny_llama(), tmp_path / "model")
    (folder / "own.py").write_text(CODE)
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    edit(folder, model_type="own", architectures=["OwnModel"], auto_map=own)
    with pytest.raises(FewbitsError, match="--trust-remote-code"):
        models.load(folder, weights=weights)
    loaded = models.load(folder, weights=weights, trust_remote_code=True)
    assert (type(loaded.model).__name__, loaded.task) == ("OwnModel", "causal-lm")


def test_a_broken_tokenizer(tmp_path: Path) -> None:
    saved(tiny_llama(), tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(FewbitsError, match="its tokenizer cannot be loaded"):
        models.load(tmp_path)


@pytest.mark.parametrize(("classes", "said"), [(3, "for timm/NAME only"), (0, "makes no sense")])
def test_classes_are_timms(classes: int, said: str) -> None:
    with pytest.raises(FewbitsError, match=said):
        models.load("demo", classes=classes)


def test_a_folder_of_fewbits_is_left_to_the_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = edit(saved(tiny_llama(), tmp_path), quantization_config={"quant_method": "fewbits"})
    asked = []

    def load_folder(path: Path, **options: Any) -> Loaded:
        asked.append((path, options))
        return Loaded(model=torch.nn.Linear(1, 1), name="?", source="?", task="other")

    monkeypatch.setattr(storage_load, "load_folder", load_folder)
    loaded = models.load(str(folder), dtype="bf16")
    assert asked == [(folder.resolve(), {"dtype": torch.bfloat16, "device": torch.device("cpu")})]
    assert (loaded.name, loaded.source) == (str(folder), str(folder.resolve()))


def test_a_hub_id_is_found_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tiny_llama(), tmp_path / "0a1b2c")
    asked = {}

    def snapshot_download(repo: str, **options: Any) -> str:
        asked.update(options, repo=repo)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    loaded = models.load("owner/name@main")
    assert (asked["repo"], asked["revision"]) == ("owner/name", "main")
    assert "*.safetensors" in asked["allow_patterns"] and not any("bin" in p or "py" in p for p in asked["allow_patterns"])
    assert loaded.source == "owner/name@0a1b2c"
    models.load("owner/name", weights=False)
    assert asked["allow_patterns"] == ["config.json"]


def test_a_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(repo: str, **_: Any) -> str:
        raise errors.LocalEntryNotFoundError("not here")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(FewbitsError, match=r"no folder 'gpt2' here, and the hub is out of reach .* give a local folder"):
        models.load("gpt2")


def test_a_folder_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("a look at the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert models.load("demo").tokenizer is not None
    assert models.load("demo-vision").num_classes == 10


@pytest.mark.slow
def test_loading_prints_nothing_to_a_terminal() -> None:
    """In a process of its own: warnings and bars come at the first import, and not through Python alone."""
    code = "import fewbits.models as m; [m.load(n) for n in ('demo', 'demo-vision')]"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama-28m", "llama-8m", "gpt2-9m", "vit-cifar10", "mobilenetv2-cifar10"])
def test_trained_models(name: str, caplog: pytest.LogCaptureFixture) -> None:
    folder = shared_path(f"models/{name}")
    loaded = models.load(folder)
    meta = models.load(folder, weights=False)
    assert {n: t.shape for n, t in loaded.model.state_dict().items()} == {
        n: t.shape for n, t in meta.model.state_dict().items()
    }
    stored = json.loads((folder / "config.json").read_text())["dtype"]
    assert {str(p.dtype) for m in (loaded, meta) for p in m.model.parameters()} == {f"torch.{stored}"}
    assert not caplog.records


def test_the_demo_is_the_same_in_a_copy(tmp_path: Path) -> None:
    """What is read is the folder alone: nothing else of the package belongs to the model."""
    copy = shutil.copytree(DEMO, tmp_path / "copy")
    tensor = models.load(copy).model.get_parameter("model.norm.weight")
    assert torch.equal(tensor, models.load("demo").model.get_parameter("model.norm.weight"))
