"""config.json is checked before anything is built from it."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

import fewbits
from fewbits import FewbitsError, configs, models
from fewbits.models.quiet import quietly
from tests.models.folders import edit, saved, tiny_llama
from tests.storage import tiny


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_hidden_layers": 2**31}, "num_hidden_layers is 2147483648: 0 to 2048"),
        ({"num_hidden_layers": -1}, "num_hidden_layers is -1"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"text_config": {"n_layer": 10**9}}, "n_layer is 1000000000"),
        ({"depths": [2, 10**9]}, "depths is 1000000000"),
        ({"num_labels": 2**31}, "num_labels is 2147483648"),
        ({"hidden_size": 2**40}, "hidden_size is 1099511627776"),
        ({"vocab_size": -5}, "vocab_size is -5"),
        ({"hidden_size": 10**30}, "hidden_size is 1000"),
        ({"architectures": "Llama"}, "architectures is 'Llama', not a JSON array"),
        ({"architectures": [1]}, "architectures holds 1"),
        ({"model_type": ["llama"]}, "model_type is .*, not a JSON string"),
        ({"quantization_config": []}, "quantization_config is"),
        ({"auto_map": "x"}, "auto_map is 'x', not a JSON object"),
        ({"id2label": [1]}, "id2label is"),
        ({"auto_map": {"AutoConfig": "evil/x--a.B"}}, "auto_map names code of another repository"),
        ({"text_config": {"auto_map": {"AutoConfig": ["evil/x--a.B", None]}}}, "auto_map names code of another repository"),
        ({"_attn_implementation": "evil/kernel"}, "names code on the hub"),
        ({"attn_implementation": {"": "a/b"}}, "names code on the hub"),
        ({"use_pretrained_backbone": True}, "weights of a backbone are not fetched"),
        ({"transformers_weights": "../x.safetensors"}, "names other"),
        ({"model_args": {"checkpoint_path": "x.pth"}}, "model_args has checkpoint_path"),
        ({"architecture": "hf-hub:evil/x"}, "architecture is"),
    ],
)
def test_refused_at_once_in_one_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"} | changes))
    with pytest.raises(FewbitsError, match=rf"config\.json: .*{said}"):
        configs.read_config(tmp_path)


def test_every_configuration_of_transformers_passes() -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    seen = 0
    with quietly():
        for kind in list(CONFIG_MAPPING)[::12]:
            try:
                data = json.loads(CONFIG_MAPPING[kind]().to_json_string(use_diff=False))
            except Exception:  # of any type: some have no defaults
                continue
            configs.check_sizes(data)
            configs.check_references(data)
            seen += 1
    assert seen > 20


@pytest.mark.parametrize("layers", [2**31, 2000])
@pytest.mark.parametrize("way", ["load", "shapes", "saved", "from_pretrained"])
def test_many_layers_do_not_hang(tmp_path: Path, way: str, layers: int) -> None:
    import transformers

    if way in ("load", "shapes"):
        folder = saved(tiny_llama(), tmp_path)
    else:
        folder = fewbits.save(tiny.quantized("llama"), tmp_path / "out")
    edit(folder, num_hidden_layers=layers, layer_types=None)
    ways: dict[str, Any] = {"load": models.load, "shapes": models.shapes, "saved": fewbits.load}
    begun = time.perf_counter()
    if layers == 2000 and way == "from_pretrained":
        return  # transformers builds it, before it asks us
    with pytest.raises(FewbitsError, match=r"num_hidden_layers is|config\.json describes a model of more than"):
        ways.get(way, transformers.AutoModelForCausalLM.from_pretrained)(folder)
    assert time.perf_counter() - begun < 10


@pytest.mark.parametrize("value", ["a", 0.5, True, [[1]], {"a": 1}, 2**40])
@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_special_tokens_that_are_none(tmp_path: Path, file: str, value: Any) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / file).write_text(json.dumps({"eos_token_id": value}))
    with pytest.raises(FewbitsError, match=rf"{file}: eos_token_id is"):
        configs.read_config(tmp_path)
