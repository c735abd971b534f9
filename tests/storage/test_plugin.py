from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModel, AutoModelForCausalLM

import fewbits
from fewbits import FewbitsConfig, FewbitsError
from fewbits.storage import plugin
from fewbits.storage.load import original_of
from tests.storage import tiny


@pytest.fixture
def original(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    tiny.llama().save_pretrained(tmp_path / "original")
    return tmp_path / "original"


def test_registering_twice_does_no_harm() -> None:
    plugin.register()
    plugin.register()


@pytest.mark.parametrize("plan", ["rtn:int8", {"lm_head": "rtn:int8", "*embed_tokens": "rtn:int8", "*": "rtn:int4g8"}])
def test_on_the_fly(original: Path, tmp_path: Path, plan: Any) -> None:
    model = AutoModelForCausalLM.from_pretrained(original, quantization_config=FewbitsConfig(plan))
    expected = fewbits.quantize(AutoModelForCausalLM.from_pretrained(original), plan)
    assert tiny.differences(expected, model) == []
    model.save_pretrained(tmp_path / "a")
    assert tiny.differences(expected, AutoModelForCausalLM.from_pretrained(tmp_path / "a")) == []
    fewbits.save(model, tmp_path / "b")
    assert tiny.differences(expected, fewbits.load(tmp_path / "b")) == []
    assert original_of(tmp_path / "a") == original_of(tmp_path / "b") == str(original)


@pytest.mark.parametrize("device_map", ["auto", {"model": 0, "lm_head": "cpu"}])
def test_on_the_fly_over_several_devices(original: Path, device_map: Any) -> None:
    quantizer = plugin.FewbitsQuantizer(FewbitsConfig("rtn:int8"), pre_quantized=False)
    with pytest.raises(FewbitsError, match="a model is quantized on one device"):
        quantizer.validate_environment(device_map=device_map)
    quantizer.validate_environment(device_map={"": 0})


def test_unknown_scheme() -> None:
    with pytest.raises(FewbitsError, match="unknown method 'magic'"):
        FewbitsConfig("magic:int8")


def test_base_model_of_a_saved_model(tmp_path: Path) -> None:
    model = tiny.quantized("llama")
    base = AutoModel.from_pretrained(fewbits.save(model, tmp_path / "out"))
    ids = torch.arange(6)[None]
    assert torch.equal(base(ids).last_hidden_state, model.model(ids).last_hidden_state)


def test_another_head_on_a_saved_model(tmp_path: Path) -> None:
    model = tiny.quantized("vit")
    folder = fewbits.save(model, tmp_path / "out")
    base = AutoModel.from_pretrained(folder, add_pooling_layer=False)
    pixels = torch.rand(1, 3, 16, 16)
    assert torch.equal(base(pixels).last_hidden_state, model.vit(pixels).last_hidden_state)


def test_pipeline(tmp_path: Path) -> None:
    model = tiny.quantized("vit")
    processor = transformers.ViTImageProcessor(size={"height": 16, "width": 16})
    folder = fewbits.save(model, tmp_path / "out", processor=processor)
    classify = transformers.pipeline("image-classification", model=str(folder))
    assert classify.model.config.quantization_config.quant_method == "fewbits"
    assert tiny.differences(model, classify.model) == []


def test_pickled_and_copied_settings_keep_the_plan(tmp_path: Path) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(fewbits.save(tiny.quantized("llama"), tmp_path / "out"))
    settings = loaded.config.quantization_config
    assert FewbitsConfig.from_dict({k: v for k, v in settings.to_dict().items() if k != "quant_method"}).plan == settings.plan
    assert settings.to_dict()["files"] == {}  # transformers will write other files
    assert "uint3g8z" in loaded.config.to_json_string()


def test_quantized_model_is_not_quantized_again(tmp_path: Path) -> None:
    folder = fewbits.save(tiny.quantized("llama"), tmp_path / "out")
    with pytest.warns(UserWarning, match="already has a `quantization_config`"):
        model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=FewbitsConfig("rtn:int2"))
    assert tiny.differences(tiny.quantized("llama"), model) == []


@pytest.mark.parametrize("name", ["llama", "gpt2", "vit"])  # transformers stores ViT's tensors under other names
def test_quantized_in_memory_and_saved_by_transformers(name: str, tmp_path: Path) -> None:
    tiny.MODELS[name](torch.float32).save_pretrained(tmp_path / "original")
    auto = transformers.AutoModelForImageClassification if name == "vit" else AutoModelForCausalLM
    model = fewbits.quantize(auto.from_pretrained(tmp_path / "original"), tiny.PLANS[name])
    model.tie_weights()
    model.save_pretrained(tmp_path / "out")
    assert tiny.differences(model, auto.from_pretrained(tmp_path / "out")) == []
    assert tiny.differences(model, fewbits.load(tmp_path / "out")) == []
    assert original_of(tmp_path / "out") == str(tmp_path / "original")


def test_names_that_are_the_models_own_are_not_renamed(tmp_path: Path) -> None:
    """The user's mapping stands for any of transformers' own, which are for the names of original checkpoints."""
    model = tiny.quantized("llama")
    folder = fewbits.save(model, tmp_path / "out")
    if transformers.__version__.startswith(("5.0.", "5.1.")):  # it renames before it asks us: refused, not wrong
        with pytest.raises(FewbitsError, match="is missing from the saved files"):
            AutoModelForCausalLM.from_pretrained(folder, key_mapping={"q_proj": "k_proj"})
        return
    assert tiny.differences(model, AutoModelForCausalLM.from_pretrained(folder, key_mapping={"q_proj": "k_proj"})) == []
