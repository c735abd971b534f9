"""Checkpoints that are not the whole float model that they look like: adapters, quantized weights, missing and leftover tensors."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

import fewbits
from fewbits import FewbitsConfig, FewbitsError
from fewbits.models import load, shapes
from fewbits.models.quiet import quietly
from fewbits.models.weights import SINGLE
from tests.models.folders import edit, saved, tiny_llama
from tests.tiny import mobilenet

NAME = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return saved(tiny_llama(), tmp_path / "llama")


def change(folder: Path, **tensors: Any) -> None:
    """Put tensors in a folder's weight file (`__` stands for a dot), or take them out."""
    held = load_file(folder / SINGLE)
    held |= {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    save_file({name: tensor for name, tensor in held.items() if tensor is not None}, folder / SINGLE, {"format": "pt"})


def on_the_fly(folder: Path, **options: Any) -> Any:
    with quietly():
        return AutoModelForCausalLM.from_pretrained(folder, quantization_config=FewbitsConfig("rtn:int8"), **options)


WAYS = {"load": load, "on the fly": on_the_fly}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.float8_e4m3fn, torch.float8_e5m2])
def test_weights_that_are_no_floats(folder: Path, way: str, dtype: torch.dtype) -> None:
    change(folder, **{NAME.replace(".", "__"): torch.ones(64, 32).to(dtype)})
    with pytest.raises(FewbitsError, match=rf"{SINGLE}: tensor '?{NAME}'? is [IUF]\d+\S*, a quantized weight"):
        WAYS[way](folder)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("last", ["weight_scale_inv", "weight_scale", "input_scale", "qzeros", "g_idx", "SCB"])
def test_scales_that_are_left_over(folder: Path, way: str, last: str) -> None:
    change(folder, **{f"model__layers__0__mlp__up_proj__{last}": torch.ones(4)})
    with pytest.raises(FewbitsError, match=f"{last}'? .*quantized"):
        WAYS[way](folder)


def test_a_float_parameter_under_another_name_that_is_stored_as_integers(folder: Path) -> None:
    with quietly():
        model = tiny_llama(attention_bias=True)
        model.save_pretrained(folder)
    change(folder, model__layers__0__self_attn__q_proj__bias=torch.ones(32, dtype=torch.int8))
    with pytest.raises(FewbitsError, match=r"q_proj\.bias' is stored as I8, but the model's is a float"):
        load(folder)


def test_a_folder_that_may_not_be_searched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = fewbits.save(fewbits.quantize(load(folder).model, "rtn:int8"), folder.with_name("out"))

    def refuse(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)  # a mode of 000 would not stop root
    for use, place in ((load, folder), (fewbits.load, out), (on_the_fly, folder)):
        with pytest.raises(FewbitsError, match=rf"^{place}: cannot be read: Permission denied"):
            use(place)


@pytest.mark.parametrize("last", ["lora_A.weight", "lora_B.default.weight", "base_layer.bias", "lora_magnitude_vector"])
@pytest.mark.parametrize("way", WAYS)
def test_an_adapter_among_the_weights(folder: Path, way: str, last: str) -> None:
    change(folder, **{f"model__layers__0__mlp__up_proj__{last.replace('.', '__')}": torch.ones(4)})
    with pytest.raises(FewbitsError, match=f"up_proj.{last}' of an adapter, which would be left out: merge it"):
        WAYS[way](folder)


@pytest.mark.parametrize("way", ["load", "on the fly"])
def test_a_float_buffer_that_is_stored_as_integers(tmp_path: Path, way: str) -> None:
    folder, model = tmp_path / "mobilenet", mobilenet()
    assert isinstance(model, PreTrainedModel)
    with quietly():
        model.save_pretrained(folder)
    name = next(name for name in load_file(folder / SINGLE) if name.endswith("running_mean"))
    change(folder, **{name.replace(".", "__"): load_file(folder / SINGLE)[name].to(torch.int8)})
    with quietly(), pytest.raises(FewbitsError, match=r"running_mean' is stored as I8, but the model's is a float"):
        if way == "load":
            load(folder)
        else:
            AutoModelForImageClassification.from_pretrained(folder, quantization_config=FewbitsConfig("rtn:int8"))


def test_a_timm_parameter_that_is_stored_as_integers(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    from timm.models import save_for_hf

    save_for_hf(timm.create_model("resnet10t", num_classes=3), str(tmp_path), safe_serialization=True)
    change(tmp_path, bn1__running_var=load_file(tmp_path / SINGLE)["bn1.running_var"].to(torch.int8))
    with pytest.raises(FewbitsError, match=r"'bn1\.running_var' is stored as I8, but the model's is a float"):
        load(tmp_path)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [NAME, "model.norm.weight", "model.embed_tokens.weight"])
def test_missing_weights(folder: Path, way: str, name: str) -> None:
    change(folder, **{name.replace(".", "__"): None})
    with pytest.raises(FewbitsError, match=f"its weights lack .*{name}|its weights lack .*lm_head"):
        WAYS[way](folder)


def test_weights_of_another_shape_are_not_made_up(folder: Path) -> None:
    edit(folder, vocab_size=80)
    with pytest.raises(FewbitsError, match=r"its weights lack model\.embed_tokens\.weight, or have it in another shape"):
        on_the_fly(folder, ignore_mismatched_sizes=True)


def test_a_new_head_is_not_quantized_on_the_fly(folder: Path) -> None:
    with quietly(), pytest.raises(FewbitsError, match=r"its weights lack score\.weight"):
        AutoModelForSequenceClassification.from_pretrained(folder, quantization_config=FewbitsConfig("rtn:int8"))


def test_shards_are_whole_on_the_fly(folder: Path, tmp_path: Path) -> None:
    with quietly():
        AutoModelForCausalLM.from_pretrained(folder).save_pretrained(tmp_path / "shards", max_shard_size="20KB")
        made = on_the_fly(tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    x = torch.arange(6)[None]
    assert torch.equal(made(x).logits, on_the_fly(folder)(x).logits)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapter_in_the_folder(folder: Path, tmp_path: Path, name: str) -> None:
    out = fewbits.save(fewbits.quantize(load(folder).model, "rtn:int8"), tmp_path / "out")
    for place in (folder, out):
        (place / name).write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": str(folder)}))
    for use in (load, shapes, on_the_fly):
        with pytest.raises(FewbitsError, match=f"{name}: is an adapter: merge it"):
            use(folder)
    for use in (load, fewbits.load, lambda path: on_the_fly_free(path)):
        with pytest.raises(FewbitsError, match=f"{name}: is an adapter: merge it"):
            use(out)


def on_the_fly_free(folder: Path) -> Any:
    with quietly():
        return AutoModelForCausalLM.from_pretrained(folder)
