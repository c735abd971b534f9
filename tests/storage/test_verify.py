"""What was saved can be loaded: a folder that cannot be is not kept."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import fewbits
from fewbits import FewbitsError, models
from fewbits.evaluate.saving import quantize_to
from fewbits.plan import Plan
from fewbits.storage import skeleton, tensors, verify
from tests.storage import tiny

CONFIGURATION = """
from transformers import PreTrainedConfig
from .sizes import WIDTH

class OwnConfig(PreTrainedConfig):
    model_type = "fewbits-own"

    def __init__(self, width=WIDTH, **others):
        self.width = self.hidden_size = width
        self.vocab_size, self.num_hidden_layers = 48, 1
        super().__init__(**others)
"""
MODEL = """
import torch
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput
from .configuration_own import OwnConfig

class OwnForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.width)
        self.inner = nn.Linear(config.width, config.width)
        self.lm_head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids, **others):
        return CausalLMOutput(logits=self.lm_head(torch.tanh(self.inner(self.embed(input_ids)))))
"""


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose code is in its own folder, in three files."""
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", tmp_path / "modules")
    monkeypatch.syspath_prepend(tmp_path / "modules")
    folder = tmp_path / "remote"
    folder.mkdir()
    for name, text in (("configuration_own", CONFIGURATION), ("modeling_own", MODEL), ("sizes", "WIDTH = 16")):
        (folder / f"{name}.py").write_text(text)
    kinds = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    config = {"architectures": ["OwnForCausalLM"], "model_type": "fewbits-own", "auto_map": kinds, "dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"embed.weight": (48, 16), "inner.weight": (16, 16), "inner.bias": (16,), "lm_head.weight": (48, 16)}
    save_file(
        {name: torch.rand(shape) for name, shape in shapes.items()}, folder / "model.safetensors", metadata={"format": "pt"}
    )
    for file in (Path(models.__file__).parent / "demo").glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder


def test_code_of_a_model_is_saved_with_it(remote: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    quantize_to(str(remote), Plan.of("rtn:int8"), out, trust_remote_code=True)
    original = models.load(remote, trust_remote_code=True).model
    shutil.rmtree(remote)
    with pytest.raises(FewbitsError, match=r"OwnForCausalLM needs code from its own folder.*trust_remote_code=True"):
        fewbits.load(out)
    loaded = fewbits.load(out, trust_remote_code=True)
    ids = torch.arange(8)[None]
    assert torch.equal(loaded(ids).logits, fewbits.quantize(original, "rtn:int8")(ids).logits)
    assert {"configuration_own.py", "modeling_own.py", "sizes.py"} <= {p.name for p in out.iterdir()}
    fewbits.save(loaded, tmp_path / "again")
    assert torch.equal(fewbits.load(tmp_path / "again", trust_remote_code=True)(ids).logits, loaded(ids).logits)


def refused(model: nn.Module, folder: Path, message: str) -> None:
    with pytest.raises(FewbitsError, match=message) as caught:
        fewbits.save(model, folder)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("the saved model would not load again")
    assert list(folder.parent.iterdir()) == []


def test_configuration_that_no_longer_fits(tmp_path: Path) -> None:
    model: Any = tiny.quantized("llama")
    model.config.intermediate_size = 64
    refused(model, tmp_path / "out", "mlp.*saved as .256,., but the plan's is .512,.")


def test_layers_that_the_configuration_does_not_make(tmp_path: Path) -> None:
    model: Any = tiny.quantized("llama")
    model.model.layers[0].mlp.extra = nn.Linear(4, 4)
    refused(model, tmp_path / "out", r"mlp\.extra")


def test_file_that_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tensors._write_file

    def damaged(found: dict[str, Any], path: Path) -> None:
        plain({name: tensor + 1 if name.endswith("norm.weight") else tensor for name, tensor in found.items()}, path)

    monkeypatch.setattr(tensors, "_write_file", damaged)
    for model in (tiny.quantized("llama"), tiny.net()):
        refused(model, tmp_path / "out", "tensor .*norm.weight: what is in the file differs")


def test_buffer_that_is_not_saved(tmp_path: Path) -> None:
    model: Any = tiny.quantized("llama")
    model.model.register_buffer("table", torch.ones(3), persistent=False)
    refused(model, tmp_path / "out", "buffer model.table: is not saved")


@pytest.mark.parametrize("name", ["llama", "phi3", "gpt2", "vit", "mobilenet"])
def test_weights_are_not_read_if_memory_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(verify, "_memory", lambda: 100)
    monkeypatch.setattr(skeleton, "transformers_model", never)
    model: Any = tiny.quantized(name)
    fewbits.save(model, tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    model.extra = nn.Linear(4, 4)
    refused(model, tmp_path / "out", "extra")


def test_method_that_is_not_installed(tmp_path: Path) -> None:
    """A layer that is quantized needs its format only."""
    model = tiny.net("rtn:int4")
    folder = fewbits.save(model, tmp_path / "out")
    path = folder / "config.json"
    path.write_text(path.read_text().replace("rtn:int4", "their_method:int4"))
    loaded = fewbits.load(folder, model=tiny.Net())
    assert torch.equal(tiny.output(model), tiny.output(loaded))
    assert str(fewbits.plan_of(fewbits.load(fewbits.save(loaded, tmp_path / "again"), model=tiny.Net()))) == "their_method:int4"
    with pytest.raises(FewbitsError, match="unknown method 'their_method'"):
        fewbits.quantize(tiny.Net(), "their_method:int4")


def test_timm_model_that_computes_as_it_is_made(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    sizes = {"embed_dim": 16, "depths": (1, 1), "num_heads": (1, 2), "img_size": 32, "window_size": 4}
    model = timm.create_model("swinv2_tiny_window8_256", num_classes=3, **sizes).eval()
    fewbits.quantize(model, "rtn:int8", on_misfit="keep")
    model.pretrained_cfg["input_size"] = (3, 32, 32)
    loaded = fewbits.load(fewbits.save(model, tmp_path / "out"))
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(model(x), loaded(x))
