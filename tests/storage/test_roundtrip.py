"""What loads equals what was saved, bit for bit: every scheme, every family of models, both ways of loading, every dtype."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

import fewbits
from fewbits.layers import QuantizedEmbedding, QuantizedLayer
from fewbits.storage.tensors import not_stored
from tests.shared import shared_path
from tests.storage import tiny
from tests.strategies import EVERY


def by_transformers(folder: Path, dtype: Any = "auto") -> nn.Module:
    vision = (folder / "config.json").read_text().find("ForImageClassification") > 0
    auto = transformers.AutoModelForImageClassification if vision else transformers.AutoModelForCausalLM
    return auto.from_pretrained(folder, dtype=dtype)


WAYS = [pytest.param(fewbits.load, id="fewbits"), pytest.param(by_transformers, id="transformers")]


@pytest.fixture(scope="module")
def every_scheme(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """A Llama in which every format has a layer of its own."""
    schemes = [*EVERY, *(f"{scheme}a8" for scheme in ("rtn:uint4g8z", "rtn:int8", "nf4g8"))]
    model = tiny.llama(num_hidden_layers=-(-len(schemes) // 7)).eval()
    names = [name for name, m in model.named_modules() if type(m) is nn.Linear and name != "lm_head"]
    model = fewbits.quantize(model, dict(zip(names, schemes, strict=False)))
    return model, fewbits.save(model, tmp_path_factory.mktemp("every") / "out", max_shard_size="20KB")


@pytest.mark.parametrize("way", WAYS)
def test_every_scheme(every_scheme: tuple[nn.Module, Path], way: Any) -> None:
    model, folder = every_scheme
    loaded = way(folder)
    plan = fewbits.plan_of(loaded)
    assert plan is not None and {str(d.scheme.format) for d in plan.decisions if d.scheme} >= {
        e.removesuffix("/f16") for e in EVERY
    }
    assert len(list(folder.glob("*.safetensors"))) > 3
    assert tiny.differences(model, loaded) == []


@pytest.mark.parametrize("dtype", tiny.DTYPES, ids=str)
@pytest.mark.parametrize("name", tiny.MODELS)
def test_every_family(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = tiny.quantized(name, dtype)
    folder = fewbits.save(model, tmp_path / "out")
    for way in (fewbits.load, by_transformers):
        loaded = way(folder)
        assert tiny.differences(model, loaded) == []
        assert not any(t.is_meta for t in (*loaded.parameters(), *loaded.buffers()))


@pytest.mark.parametrize("name", tiny.MODELS)
def test_saved_again_by_transformers(name: str, tmp_path: Path) -> None:
    model = tiny.quantized(name, torch.bfloat16)
    fewbits.load(fewbits.save(model, tmp_path / "out")).save_pretrained(tmp_path / "again")
    by_transformers(tmp_path / "again").save_pretrained(tmp_path / "third")
    assert tiny.differences(model, by_transformers(tmp_path / "third")) == []
    assert tiny.differences(model, fewbits.load(tmp_path / "third")) == []


@pytest.mark.parametrize(("saved", "asked"), [("float32", "bfloat16"), ("bfloat16", "float32"), ("bfloat16", "float16")])
@pytest.mark.parametrize("name", ["llama", "gpt2", "vit"])
def test_another_dtype(name: str, saved: str, asked: str, tmp_path: Path) -> None:
    model = tiny.quantized(name, getattr(torch, saved))
    folder = fewbits.save(model, tmp_path / "out")
    dtype = getattr(torch, asked)
    for way in (fewbits.load, by_transformers):
        loaded = way(folder, dtype=asked)
        assert tiny.differences(cast(model, dtype), loaded) == []
        assert {layer.like.dtype for layer in loaded.modules() if isinstance(layer, QuantizedLayer)} == {dtype}


def cast(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The model in another dtype, but with rotary tables, which are not stored, in float32 as transformers makes them.

    To cast them costs accuracy: `from_pretrained` never does, while `Module.to` does.
    """
    model = copy.deepcopy(model)
    tables = {full: copy.deepcopy(module.get_buffer(name)) for module, name, full in not_stored(model) if "inv_freq" in full}
    model.to(dtype)
    for module, name, full in not_stored(model):
        if full in tables:
            setattr(module, name, tables[full])
    return model


def test_rotary_table_that_was_cast_comes_back_cast(tmp_path: Path) -> None:
    model = tiny.quantized("llama").to(torch.bfloat16)
    assert model.get_buffer("model.rotary_emb.inv_freq").dtype == torch.bfloat16
    assert tiny.differences(model, fewbits.load(fewbits.save(model, tmp_path / "out"))) == []


@pytest.mark.parametrize("way", WAYS)
def test_layers_of_several_dtypes(way: Any, tmp_path: Path) -> None:
    model = tiny.llama().to(torch.bfloat16).eval()
    model.get_submodule("model.norm").float()
    model.get_submodule("model.embed_tokens").float()
    model = fewbits.quantize(model, {"*embed_tokens": "rtn:int8", "lm_head": "rtn:int8", "*": "rtn:int4g8"})
    loaded = way(fewbits.save(model, tmp_path / "out"))
    embedding = loaded.get_submodule("model.embed_tokens")
    assert isinstance(embedding, QuantizedEmbedding) and embedding.like.dtype == torch.float32
    assert {n: t.dtype for n, t in model.state_dict().items()} == {n: t.dtype for n, t in loaded.state_dict().items()}


TRAINED = {
    "llama-28m": {"lm_head": "rtn:int8", "*embed_tokens": "rtn:int8", "*q_proj": "rtn:uint3g32z/q8", "*": "rtn:uint4g64"},
    "llama-8m": {"*mlp*": "nf4g64/bf16", "*v_proj": "rtn:int8a8", "*": "rtn:uint5g64o"},
    "gpt2-9m": {"*wte": "rtn:int6g64", "lm_head": "rtn:int6g64", "*wpe": "rtn:int8", "*mlp*": "nf3g64", "*": "rtn:uint2g8/f32"},
    "vit-cifar10": {"classifier": "rtn:int8", "*mlp*": "rtn:int8a8", "*attention*": "fp4g64/q8", "*": "rtn:uint7"},
    "mobilenetv2-cifar10": {"classifier": "fp8t", "*": "rtn:int8"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_trained_models(name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)  # for the same bits twice, and no waiting where the cores are shared
    model = fewbits.quantize(by_transformers(shared_path(f"models/{name}")), TRAINED[name])
    folder = fewbits.save(model, tmp_path / "out", max_shard_size="2MB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    asked = torch.bfloat16 if model.dtype == torch.float32 else torch.float32
    for way in (fewbits.load, by_transformers):
        assert tiny.differences(model, way(folder)) == []
        assert tiny.differences(cast(model, asked), way(folder, dtype=asked)) == []
