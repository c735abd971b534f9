from pathlib import Path

import pytest

import fewbits as library
from fewbits import models
from tests.cli.running import Runner, refused

LAYER = "model.layers.3.self_attn.q_proj"


def test_a_layer_of_the_demo(fewbits: Runner, tmp_path: Path) -> None:
    path = tmp_path / "layer.html"
    ended = fewbits("inspect", "demo", "*.3.*q_proj", "rtn:uint3g64", "-o", path, "--json")
    assert ended.code == 0, ended
    assert all(part in ended.out for part in (LAYER, "kurtosis", "most wrong", "byte 0", "█", "┴", f"page: {path}"))
    assert "\\[" not in ended.out
    told = ended.document["layer"]
    assert (
        told["name"] == LAYER and told["stored"]["bits_per_weight"] == 3.5 and told["stored"]["nbytes"] == 65536 * 3 // 8 + 4096
    )
    assert bytes.fromhex(told["stored"]["shown"][0]["packed"]) and 0.1 < told["error"]["relative"] < 0.3
    assert "<h1>" + LAYER in path.read_text()
    refused(fewbits("inspect", "demo", LAYER, "int8", "-o", path), str(path), "--force")


def test_weights_alone(fewbits: Runner) -> None:
    ended = fewbits("inspect", "demo-vision", "stem.*", "--json")
    assert ended.code == 0, ended
    assert ended.document["layer"]["stored"] is None and "no scheme was given" in ended.out


def test_a_saved_model_brings_its_scheme_and_finds_its_original(fewbits: Runner, tmp_path: Path) -> None:
    loaded = models.load("demo")
    model = library.quantize(loaded.model, {LAYER: "rtn:uint4g64", "*": "keep"})
    library.save(model, tmp_path / "q", tokenizer=loaded.tokenizer)
    ended = fewbits("inspect", tmp_path / "q", LAYER, "--json")
    assert ended.code == 0, ended
    told = ended.document["layer"]
    assert told["stored"]["scheme"] == "rtn:uint4g64" and 0.05 < told["error"]["relative"] < 0.15
    refused(fewbits("inspect", tmp_path / "q", LAYER, "int8"), LAYER, "rtn:uint4g64", "leave rtn:int8 away")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("demo", "model.layers.3.self_attn.qproj"), ("did you mean", LAYER)),
        (("demo", "*q_proj"), ("matches 8 layers", "name one of them")),
        (("demo", LAYER, "uint9"), ("uint", "9 bits")),
        (("demo", LAYER, "uint4g48"), (LAYER, "48", "256")),
        (("dmo", LAYER), ("dmo", "demo")),
    ],
)
def test_what_a_user_can_get_wrong(fewbits: Runner, arguments: tuple[str, ...], parts: tuple[str, ...]) -> None:
    refused(fewbits("inspect", *arguments), *parts)


def test_a_page_that_cannot_be_written_is_refused_before_anything_is_loaded(fewbits: Runner, tmp_path: Path) -> None:
    refused(fewbits("inspect", "nowhere", LAYER, "-o", tmp_path), str(tmp_path), "name of a file")
