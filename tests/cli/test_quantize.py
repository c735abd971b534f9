from pathlib import Path

import pytest
import torch

import fewbits as library
from tests.cli.running import Runner, refused


def test_quantize_then_load(fewbits: Runner, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = fewbits("quantize", "demo", "uint4g64", "-o", out, "--json")
    assert ended.code == 0, ended.err
    assert "73.7 % of parameters quantized" in ended.out
    row = ended.document["results"][0]
    assert row["measures"]["size"]["value"] == sum(t.nbytes for t in library.load(out).state_dict().values()) - tied(out)
    assert {"config.json", "plan.yaml", "measurements.json", "README.md", "model.safetensors"} <= {
        p.name for p in out.iterdir()
    }


def tied(folder: Path) -> int:
    """Bytes that a state dict lists twice: the head is the embeddings."""
    model = library.load(folder)
    head, embeddings = model.get_parameter("lm_head.weight"), model.get_parameter("model.embed_tokens.weight")
    assert head is embeddings
    return head.nbytes


def test_an_existing_folder_is_refused_before_the_work_and_kept(fewbits: Runner, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    refused(fewbits("quantize", "demo", "uint4g64", "-o", tmp_path), str(tmp_path))
    refused(fewbits("quantize", "demo", "uint4g64", "-o", tmp_path, "--force"), str(tmp_path))
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_force_replaces_a_saved_model(fewbits: Runner, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert fewbits("quantize", "demo", "int8", "-o", out).code == 0
    refused(fewbits("quantize", "demo", "uint2g64", "-o", out), "--force")
    assert str(library.plan_of(library.load(out))) == "rtn:int8"
    assert fewbits("quantize", "demo", "uint2g64", "-o", out, "--force").code == 0
    assert str(library.plan_of(library.load(out))) == "rtn:uint2g64"


def test_a_saved_plan_is_a_recipe(fewbits: Runner, tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    fewbits("quantize", "demo", "-o", first, "--rule", "*attn*=nf4g64", "--rule", "*=keep")
    assert fewbits("quantize", "demo", "-o", second, "--recipe", first / "plan.yaml").code == 0
    a, b = library.load(first).state_dict(), library.load(second).state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("recipe", sorted(Path("recipes").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_recipes_fit_the_demo(fewbits: Runner, recipe: Path) -> None:
    ended = fewbits("size", "demo", "--recipe", recipe, "--json")
    assert ended.code == 0 and ended.document["results"][1]["coverage"] > 0.1


def test_no_scheme(fewbits: Runner, tmp_path: Path) -> None:
    refused(fewbits("quantize", "demo", "-o", tmp_path / "out"), "no scheme", "hqq:uint4g64")


def test_a_disk_that_is_full(fewbits: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    monkeypatch.setattr("fewbits.storage.tensors.save_file", full, raising=False)
    refused(fewbits("quantize", "demo", "uint4g64", "-o", tmp_path / "out"), "No space left")
    assert not list(tmp_path.iterdir())
