import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file, save_model
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig

import fewbits
from fewbits.errors import FewbitsError
from fewbits.measure import file_size, planned_size, resident, size
from fewbits.measure.size import skeleton
from fewbits.runtime import cpu
from tests.measure.tiny import TinyLM, tiny_classifier, tiny_llama

MIB = 2**20
DEIT_MIB = {  # published for groups of 64, 32, 16 and 8, in f32, without pos_embed and cls_token
    8: (24.321182, 26.852432, 31.914932, 42.039932),
    4: (14.196182, 16.727432, 21.789932, 31.914932),
    3: (11.664932, 14.196182, 19.258682, 29.383682),
    2: (9.133682, 11.664932, 16.727432, 26.852432),
}
DEIT_LEFT_OUT = 75_648 * 4


@pytest.fixture(scope="module")
def deit() -> nn.Module:
    with torch.device("meta"):
        return timm.create_model("deit3_small_patch16_224", num_classes=100)


@pytest.fixture(scope="module")
def llama() -> nn.Module:
    config = LlamaConfig(
        vocab_size=128_256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=64,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)


@pytest.mark.parametrize("bits", DEIT_MIB)
@pytest.mark.parametrize(("column", "group"), [(0, 64), (1, 32), (2, 16), (3, 8)])
def test_deit_to_the_last_byte(deit: nn.Module, bits: int, column: int, group: int) -> None:
    got = planned_size(deit, {"blocks.*": f"rtn:uint{bits}g{group}/f32", "*": "keep"})
    assert (got.value - DEIT_LEFT_OUT) / MIB == pytest.approx(DEIT_MIB[bits][column], abs=5e-7)


@pytest.mark.parametrize(
    ("scheme", "mib"),
    [("keep", 2357.129), ("rtn:uint8g64", 1487.129), ("rtn:uint4g64", 1023.129), ("rtn:uint2g64", 791.129)],
)
def test_llama_1b_by_its_configuration(llama: nn.Module, scheme: str, mib: float) -> None:
    got = planned_size(llama, scheme)
    assert got.value / MIB == pytest.approx(mib, abs=5e-4)
    assert got.parts["parameters"] == 1_235_814_400
    assert all(t.is_meta for t in llama.parameters())


def test_llama_1b_part_by_part(llama: nn.Module) -> None:
    parts = planned_size(llama, "rtn:uint4g64").parts
    assert parts["by_part"]["model.embed_tokens"] == 128_256 * 2048 * 2  # the tied head is not counted again
    assert "lm_head" not in parts["by_part"]
    assert parts["quantized"] == 973_078_528
    assert parts["codes"] == parts["by_dtype"]["uint4"] == 973_078_528 // 2
    assert parts["meta"] == parts["by_dtype"]["float16"] == 973_078_528 // 64 * 4
    assert parts["kept"] == parts["by_dtype"]["bfloat16"]
    assert parts["bits_per_weight"] == 4.5
    assert parts["layers"] == {"QuantizedLinear": 112, "LlamaRMSNorm": 33, "Embedding": 1, "Linear": 1}
    assert parts["by_part"]["model.layers.*.mlp"] == 16 * 3 * 2048 * 8192 * 4.5 / 8


def test_a_float_model_by_hand() -> None:
    model = tiny_classifier()
    got = size(model)
    convolution, norm, linear = 8 * 27 + 8, 4 * 8, 32 * 4 + 4
    assert got.value == (convolution + norm + linear) * 4 + 8  # and the norm's count of batches, an int64
    assert got.parts["by_dtype"] == {"float32": (convolution + norm + linear) * 4, "int64": 8}
    assert got.parts["layers"] == {"Conv2d": 1, "BatchNorm2d": 1, "Linear": 1}
    assert (got.parts["codes"], got.parts["meta"], got.parts["kept"]) == (0, 0, got.value)
    assert got.parts["parameters"] == convolution + 16 + linear
    assert got.parts["bits_per_weight"] is None
    assert got.parts["bits_per_weight_of_model"] == 8 * got.value / (convolution + 16 + linear)
    assert (got.name, got.unit, got.se, got.n) == ("size", "B", None, None)


def test_a_quantized_model_by_hand() -> None:
    model = fewbits.quantize(TinyLM(), {"up": "rtn:uint3g4z", "lm_head": "nf4g8/q8", "*": "keep"})
    parts = size(model).parts
    up, head = 16 * 8, 13 * 16
    assert parts["by_dtype"] == {
        "uint3": up * 3 // 8 + up // 4 * 3 // 8,  # codes, and zero points of the same width
        "float16": up // 4 * 2,
        "nf4": head // 2,
        "uint8": head // 8,
        "float32": 8 + 13 * 8 * 4 + 16 * 4 + 13 * 4,  # step and base of one block of scales; embedding; two biases
    }
    assert (parts["codes"], parts["quantized"]) == (up * 3 // 8 + head // 2, up + head)
    assert parts["meta"] == up // 4 * 3 // 8 + up // 4 * 2 + head // 8 + 8
    assert parts["kept"] == 13 * 8 * 4 + 16 * 4 + 13 * 4
    assert parts["parameters"] == size(TinyLM()).parts["parameters"]
    assert parts["bits_per_weight"] == 8 * (parts["codes"] + parts["meta"]) / (up + head)
    assert parts["by_part"].keys() == {"embed", "up", "lm_head"}


SCHEMES = ["rtn:uint1", "rtn:uint2g8", "rtn:uint3g8z/f32", "rtn:uint4t/bf16", "rtn:uint5g4/q8", "rtn:int6g8o", "rtn:int7"]
SCHEMES += ["rtn:int8a8", "nf2g8", "nf3g4/bf16", "nf4g8/q8", "fp4t", "fp8g8/f32", "keep"]


def tiny_gpt2() -> nn.Module:
    return GPT2LMHeadModel(GPT2Config(vocab_size=40, n_positions=16, n_embd=16, n_layer=2, n_head=2))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("make", [TinyLM, tiny_gpt2, tiny_llama])
def test_what_is_planned_is_what_comes_out(make: type, scheme: str) -> None:
    model = make()
    planned = planned_size(model, scheme)
    after = size(fewbits.quantize(model, scheme))
    assert planned.value == after.value
    assert planned.parts == after.parts


@pytest.mark.parametrize("scheme", ["rtn:uint4g9", "rtn:int3", "nf4g8o/q8"])
def test_planned_convolutions(scheme: str) -> None:
    planned = planned_size(tiny_classifier(), {"0": scheme, "*": "keep"})
    assert planned.value == size(fewbits.quantize(tiny_classifier(), {"0": scheme, "*": "keep"})).value
    assert planned.value < size(tiny_classifier()).value


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_a_tied_pair_that_is_quantized_counts_once(make: type) -> None:
    plan = {"lm_head": "rtn:uint4g8", "*": "rtn:uint4g8"}
    planned, after = planned_size(make(), plan), size(fewbits.quantize(make(), plan))
    assert (planned.value, planned.parts) == (after.value, after.parts)
    assert after.parts["layers"]["QuantizedEmbedding"] == 1
    assert after.parts["parameters"] == size(make()).parts["parameters"]
    assert after.parts["bits_per_weight"] == 8.0  # 4, and 2 * 16 for 8 weights


def test_a_plan_leaves_the_model_alone() -> None:
    model = tiny_llama()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    planned_size(model, "rtn:uint4g8")
    assert model.state_dict().keys() == before.keys()
    assert all(v.equal(before[k]) for k, v in model.state_dict().items())


def test_a_plan_that_does_not_fit_is_refused() -> None:
    with pytest.raises(FewbitsError, match="groups of 7 do not divide"):
        planned_size(tiny_llama(), "rtn:uint4g7")


class Shares(nn.Module):
    """A weight and views of it: its halves, all of it again, its transpose, rows that overlap nothing, and a lone slice."""

    def __init__(self) -> None:
        super().__init__()
        whole = torch.randn(6, 4)
        self.first, self.second = nn.Parameter(whole[:3]), nn.Parameter(whole[3:])
        self.all, self.turned = nn.Parameter(whole), nn.Parameter(whole.T)
        other = torch.randn(5, 4)
        self.even, self.odd = nn.Parameter(other[0::2]), nn.Parameter(other[1::2])
        self.odd_again = nn.Parameter(other[1::2])
        self.register_buffer("slice", torch.randn(100)[:10])
        self.register_buffer("cache", torch.zeros(1000), persistent=False)


def test_shared_memory_counts_once_and_bytes_that_differ_all_count() -> None:
    assert size(Shares()).value == (24 + 12 + 8 + 10) * 4
    assert size(skeleton(Shares())).parts == size(Shares()).parts
    assert resident(Shares()).value == (24 + 20 + 100 + 1000) * 4


def test_a_module_used_twice_counts_once() -> None:
    layer = nn.Linear(4, 4)
    got = size(nn.Sequential(layer, nn.ReLU(), layer))
    assert (got.value, got.parts["layers"]) == (80, {"Linear": 1})


def test_a_skeleton_holds_nothing_and_keeps_ties() -> None:
    bare = skeleton(tiny_llama())
    assert all(t.is_meta for t in [*bare.parameters(), *bare.buffers()])
    assert bare.lm_head.weight is bare.model.embed_tokens.weight


def test_resident_counts_what_is_not_saved() -> None:
    model = tiny_llama()
    rotary = sum(b.nbytes for b in model.buffers())
    assert rotary > 0
    assert resident(model).value == size(model).value + rotary
    assert resident(model).parts == {"by_device": {"cpu": resident(model).value}, "packed": 0}
    quantized = fewbits.quantize(tiny_llama(), "rtn:uint4g8")
    assert resident(quantized).value == size(quantized).value + rotary


@pytest.mark.skipif(not cpu.available(), reason=str(cpu.why_not()))
def test_resident_counts_what_the_kernels_made() -> None:
    model = fewbits.quantize(tiny_llama(), "rtn:uint4g32", on_misfit="keep")
    before = resident(model).value
    packed = cpu.prepare(model)
    assert packed > 0
    assert resident(model).value == before + packed and resident(model).parts["packed"] == packed


def test_file_size_of_one_file(tmp_path: Path) -> None:
    save_model(tiny_llama(), str(tmp_path / "model.safetensors"))
    (tmp_path / "pytorch_model.bin").write_bytes(b"the same once more")
    got = file_size(tmp_path)
    assert got.value == (tmp_path / "model.safetensors").stat().st_size == file_size(tmp_path / "model.safetensors").value
    assert size(tiny_llama()).value < got.value < size(tiny_llama()).value + 4096  # a header


def test_file_size_of_shards(tmp_path: Path) -> None:
    for i in (1, 2):
        save_file({"a": torch.zeros(100 * i)}, tmp_path / f"model-0000{i}-of-00002.safetensors")
    save_file({"a": torch.zeros(999)}, tmp_path / "consolidated.safetensors")
    index = {"weight_map": {f"w{i}": f"model-0000{i}-of-00002.safetensors" for i in (1, 2)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    got = file_size(tmp_path)
    assert got.value == sum(f.stat().st_size for f in tmp_path.glob("model-*.safetensors"))
    assert len(got.parts["files"]) == 2
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(FewbitsError, match=r"model-00002-of-00002\.safetensors: is missing, one of 2 shards"):
        file_size(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(FewbitsError, match="is no index of shards"):
        file_size(tmp_path)


def test_folders_without_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FewbitsError, match="holds no weight file"):
        file_size(tmp_path)
    with pytest.raises(FewbitsError, match="no such folder"):
        file_size(tmp_path / "nowhere")
    (tmp_path / "model.gguf").write_bytes(bytes(7))
    assert file_size(tmp_path).value == 7
