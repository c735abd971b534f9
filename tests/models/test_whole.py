"""Checkpoints that are not the whole float model that they look like: adapters, quantized weights, missing and leftover tensors."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

import fewbits
from fewbits import FewbitsConfig, FewbitsError
from fewbits.models import load, shapes
from fewbits.models.quiet import quietly
from fewbits.models.weights import SINGLE
from tests.models.folders import edit, saved, tiny_llama

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
    with pytest.raises(FewbitsError, match=r"q_proj\.bias is stored as I8, but the model's is a float"):
        load(folder)


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
