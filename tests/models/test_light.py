"""The Llama that is built without transformers: its tensors, its rotary embedding and its tokenizer are transformers' own."""

import json
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
from fewbits.storage import plain_tokenizer, skeleton, tensors
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
        own = want(ids).logits
        assert torch.allclose(have.logits, own[:, -1], atol=1e-4)
        assert torch.allclose(model(ids).logits, own, atol=1e-4)
        assert torch.allclose(model(ids, logits_to_keep=3).logits, own[:, -3:], atol=1e-4)


def test_what_it_does_not_build_is_told() -> None:
    config = read_config(DEMO)
    assert light.why_not(config) is None
    assert light.why_not(config | {"architectures": ["MistralForCausalLM"]}) == "it is no Llama"
    assert "silu" in str(light.why_not(config | {"hidden_act": "gelu"}))
    assert "rotary" in str(light.why_not(config | {"rope_parameters": {"rope_type": "yarn"}}))
    assert "rotary" in str(light.why_not(config | {"rope_parameters": None}))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"attn_logit_softcapping": 30.0}, "it sets attn_logit_softcapping"),
        ({"sliding_window": 16}, "it sets sliding_window"),
        ({"rope_theta": 1e4}, "it sets rope_theta"),
        ({"use_qk_norm": False}, "it sets use_qk_norm"),
        ({"num_key_value_heads": None}, "num_key_value_heads is None"),
        ({"num_key_value_heads": 3}, "do not divide"),
        ({"num_attention_heads": 7, "num_key_value_heads": 7}, "do not divide"),
        ({"num_hidden_layers": 2**31}, "num_hidden_layers is 2147483648"),
        ({"hidden_size": "256"}, "hidden_size is '256'"),
        ({"rms_norm_eps": None}, "rms_norm_eps is None"),
        ({"attention_bias": 1}, "attention_bias is 1"),
        ({"head_dim": 32.0}, "head_dim is 32.0"),
        ({"pretraining_tp": 2}, "parted"),
        ({"model_type": "mistral"}, "no Llama"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1]}}, "is not set by rope_theta"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0}}, "is not set by factor, high"),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": float("nan")}}, "no positive number"),
        ({"rope_parameters": {"rope_type": ["default"], "rope_theta": 1e4}}, "of another type"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}, "is not set by rope_theta"),
    ],
)
def test_only_exactly_known_settings_are_built(changes: dict[str, Any], says: str) -> None:
    config = read_config(DEMO) | {"quantization_config": {}}
    assert light.why_not(config) is None
    assert says in str(light.why_not(config | changes))


SETTINGS = json.loads((DEMO / "tokenizer_config.json").read_text())
SPECIAL = json.loads((DEMO / "tokenizer.json").read_text())["added_tokens"][0]
FLAGS = {name: value for name, value in SPECIAL.items() if name != "id"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, None),
        ({"added_tokens_decoder": {str(SPECIAL["id"]): FLAGS}, "clean_up_tokenization_spaces": False}, None),
        ({"pad_token": {"content": SPECIAL["content"], "lstrip": False}, "chat_template": "x"}, None),
        ({"added_tokens_decoder": {str(SPECIAL["id"]): FLAGS | {"lstrip": True}}}, "it sets added_tokens_decoder"),
        ({"added_tokens_decoder": {"9000": FLAGS}}, "it sets added_tokens_decoder"),
        ({"add_bos_token": True}, "it sets add_bos_token"),
        ({"add_prefix_space": True}, "it sets add_prefix_space"),
        ({"unk_token": "the"}, "it sets unk_token"),
        ({"additional_special_tokens": ["<new>"]}, "it sets additional_special_tokens"),
        ({"legacy": True}, "it sets legacy"),
        ({"auto_map": {"AutoTokenizer": "x.Y"}}, "it sets auto_map"),
        ({"tokenizer_class": "LlamaTokenizer"}, "another class"),
        ({"tokenizer_class": ["TokenizersBackend"]}, "another class"),
    ],
)
def test_only_tokenizers_that_transformers_adds_nothing_to(changes: dict[str, Any], says: str | None, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((DEMO / "tokenizer.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(SETTINGS | changes))
    reason = plain_tokenizer.why_not(tmp_path)
    assert reason is None if says is None else says in str(reason)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"model": 3}', "[" * 100_000])
def test_damaged_tokenizers_are_left_to_transformers(text: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(SETTINGS))
    (tmp_path / "tokenizer.json").write_text(text)
    assert plain_tokenizer.why_not(tmp_path)


def test_its_tokenizer_cuts_and_pads_nothing(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    inner = Tokenizer.from_file(str(DEMO / "tokenizer.json"))
    text = "The list of files is the one that was made here"
    want = inner.encode(text).ids
    inner.enable_truncation(4)
    inner.enable_padding(length=64)
    inner.save(str(tmp_path / "tokenizer.json"))
    assert light.PlainTokenizer(str(tmp_path / "tokenizer.json"))(text)["input_ids"] == want


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
