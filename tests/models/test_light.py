"""The Llama that is built without transformers: its tensors, its rotary embedding and its tokenizer are transformers' own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

import fewbits
from fewbits.models import light
from fewbits.runtime.prompt import PromptReader
from fewbits.runtime.structure import recognise
from fewbits.storage import light as loading
from fewbits.storage import skeleton, tensors
from fewbits.storage.manifest import Manifest, read_config

DEMO = Path(light.__file__).parent / "demo"
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
ROPES: list[dict[str, Any]] = [
    {"rope_type": "default", "rope_theta": 1e4},
    {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0},
    LLAMA3 | {"rope_theta": 5e5, "original_max_position_embeddings": 64},
]


@pytest.mark.parametrize("rope", ROPES, ids=lambda rope: rope["rope_type"])
@pytest.mark.parametrize("tied", [False, True])
def test_it_computes_what_transformers_does(rope: dict[str, Any], tied: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=96, intermediate_size=160, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1, vocab_size=300,
        rope_parameters=rope, tie_word_embeddings=tied, max_position_embeddings=512,
    )  # fmt: skip
    want: Any = fewbits.quantize(LlamaForCausalLM(config).eval(), "uint8g32")
    fewbits.save(want, tmp_path / "saved")
    folder, manifest = tmp_path / "saved", Manifest.read(tmp_path / "saved")
    model: Any = light.LightLlama(read_config(folder), None, torch.float32)
    skeleton.prepare(model, manifest.plan, torch.device("cpu"))
    tensors.fill(model, tensors.files_of(folder), tied=manifest.tied, dtype=None, device=torch.device("cpu"))
    structure = recognise(model)
    assert structure.rotary is not None
    cos, sin = structure.rotary(torch.empty(0), torch.arange(256)[None])
    ids = torch.randint(0, 300, (1, 100))
    with torch.inference_mode():
        have = PromptReader(structure, (cos[0], sin[0]), 256).read(ids)
        assert torch.allclose(have.logits, want(ids).logits[:, -1], atol=1e-4)


def test_what_it_does_not_build_is_told() -> None:
    config = read_config(DEMO)
    assert light.why_not(config) is None
    assert light.why_not(config | {"architectures": ["MistralForCausalLM"]}) == "it is no Llama"
    assert "silu" in str(light.why_not(config | {"hidden_act": "gelu"}))
    assert "rotary" in str(light.why_not(config | {"rope_parameters": {"rope_type": "yarn"}}))
    assert "rotary" in str(light.why_not(config | {"rope_parameters": None}))


def test_its_tokenizer_is_transformers() -> None:
    have, want = light.PlainTokenizer(str(DEMO / "tokenizer.json")), AutoTokenizer.from_pretrained(DEMO)
    for text in ("The list of files is", "  two  spaces, a\nline — and é.", ""):
        ids = want(text)["input_ids"]
        assert have(text)["input_ids"] == ids
        assert have.decode(ids, skip_special_tokens=True) == want.decode(ids, skip_special_tokens=True)


def test_only_folders_that_can_be_loaded_so_are_begun(tmp_path: Path) -> None:
    assert loading.begin("no such folder", "cuda") is None
    assert loading.begin(str(DEMO), "cuda") is None  # not saved by fewbits
    loaded = fewbits.quantize(LlamaForCausalLM(LlamaConfig.from_pretrained(DEMO)).bfloat16(), "uint4g64")
    fewbits.save(loaded, tmp_path / "saved")
    assert loading.begin(str(tmp_path / "saved"), "cuda") is None  # no tokenizer
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "saved" / name).write_bytes((DEMO / name).read_bytes())
    assert loading.begin(str(tmp_path / "saved"), "cpu") is None
    begun = loading.begin(str(tmp_path / "saved"), "cuda")
    assert begun is not None
    begun.checked.result()


def test_an_altered_file_is_found_while_it_is_read(tmp_path: Path) -> None:
    model = fewbits.quantize(LlamaForCausalLM(LlamaConfig.from_pretrained(DEMO)).bfloat16(), "uint4g64")
    fewbits.save(model, tmp_path / "saved")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "saved" / name).write_bytes((DEMO / name).read_bytes())
    weights = tmp_path / "saved" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    begun = loading.begin(str(tmp_path / "saved"), "cuda")
    assert begun is not None
    with pytest.raises(fewbits.FewbitsError, match="altered"):
        begun.checked.result()
