import json
from pathlib import Path
from typing import Any

import pytest

import fewbits
from fewbits import FewbitsError
from fewbits.plan import Plan
from fewbits.storage.manifest import FORMAT_VERSION, Manifest, absolute, is_saved_by_fewbits
from tests.storage import tiny


def plan() -> Plan:
    found = fewbits.plan_of(tiny.net())
    assert found is not None
    return found


def manifest() -> Manifest:
    return Manifest(
        plan=plan(),
        library="torch",
        dtype="float32",
        dtypes={"a.like": "bfloat16"},
        tied={"head.weight": "embed.weight"},
        source="owner/name",
        files={"model.safetensors": "0" * 64},
    )


def write(folder: Path, **changes: Any) -> Path:
    config = {"quantization_config": manifest().to_dict() | changes}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_round_trip(tmp_path: Path) -> None:
    assert Manifest.read(write(tmp_path)) == manifest()


def test_round_trip_of_ties_and_misfits() -> None:
    model = fewbits.quantize(tiny.Net(18), {"embed": "rtn:int8", "head": "rtn:int8", "*": "rtn:int4g4"}, on_misfit="keep")
    found = fewbits.plan_of(model)
    assert found is not None and any(d.tied_to for d in found.decisions) and any("divide" in d.why for d in found.decisions)
    whole = Manifest(plan=found, library="torch", dtype="float32")
    assert Manifest.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (FORMAT_VERSION + 1, "newer than fewbits .*update fewbits"),
        (FORMAT_VERSION - 1, "older than fewbits .*quantize the original again"),
        ("1", "format_version is '1', not a number"),
        (None, "format_version is None"),
    ],
)
def test_other_versions(tmp_path: Path, version: Any, message: str) -> None:
    with pytest.raises(FewbitsError, match=message) as caught:
        Manifest.read(write(tmp_path, format_version=version))
    assert str(caught.value).startswith(str(tmp_path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"library": "jax"}, "unknown library 'jax'"),
        ({"plan": None}, "a plan is a mapping"),
        ({"plan": {"rules": []}}, "no decisions"),
        ({"files": ["model.safetensors"]}, "'files' is no mapping"),
        ({"dtypes": {"a": 1}}, "'dtypes' is no mapping"),
    ],
)
def test_damaged(tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(FewbitsError, match=message):
        Manifest.read(write(tmp_path, **changes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "has no config.json"),
        ("{", "cannot be read as JSON"),
        ("[]", "is a list"),
        ("{}", "was not saved by fewbits"),
        ('{"quantization_config": {"quant_method": "gptq"}}', "was not saved by fewbits"),
    ],
)
def test_folders_of_others(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(FewbitsError, match=message):
        Manifest.read(tmp_path)
    assert not is_saved_by_fewbits(tmp_path)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FewbitsError, match="no such folder"):
        Manifest.read(tmp_path / "none")


def test_source_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert absolute("model") == str(tmp_path / "model")
    assert absolute("owner/name") == "owner/name"
    assert absolute("") is None
