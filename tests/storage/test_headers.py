"""Damaged safetensors headers, plans and scales, with checksums that are right."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import fewbits
from fewbits import FewbitsError
from fewbits.storage import headers
from fewbits.storage.checksums import sha256
from tests.storage import tiny


def written(path: Path, header: object, body: bytes = b"\0" * 64, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)
    return path


def entry(dtype: Any = "F32", shape: Any = (16,), offsets: Any = (0, 64)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "header",
    [
        {"a": entry(), "b": entry()},
        {"a": entry(offsets=(0, 32))},
        {"a": entry(offsets=(64, 0))},
        {"a": entry(offsets=(0, 2**63))},
        {"a": entry(dtype="X99")},
        {"a": entry(shape=(2**32, 2**32))},
        {"a": entry(shape=(-16,))},
        {"a": entry(shape=(17,))},
        {"a": entry(shape="x")},
        {"a": 1},
        {"a": {}},
        [],
        1,
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 10_000,
        b'{"a": ' * 10_000,
    ],
)
def test_damaged_headers(tmp_path: Path, header: object) -> None:
    with pytest.raises(FewbitsError, match=r"x\.safetensors: is truncated or no safetensors file"):
        headers.stored([written(tmp_path / "x.safetensors", header)])


@pytest.mark.parametrize("length", [0, 7, 10**6, 2**40, 2**63, 2**64 - 1])
def test_lengths_of_a_header(tmp_path: Path, length: int) -> None:
    with pytest.raises(FewbitsError, match="is truncated or no safetensors file"):
        headers.stored([written(tmp_path / "x.safetensors", {"a": entry()}, length=length)])


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9])
def test_short_files(tmp_path: Path, size: int) -> None:
    path = written(tmp_path / "x.safetensors", {"a": entry()})
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(FewbitsError, match="is truncated or no safetensors file"):
        headers.stored([path])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fewbits.save(tiny.net("rtn:int4"), tmp_path / "out")


def changed(folder: Path, **tensors: torch.Tensor | None) -> None:
    """Put other tensors into the weight file, and its new checksum into the manifest."""
    path = folder / "model.safetensors"
    found = {k: v for k, v in (load_file(path) | tensors).items() if v is not None}
    save_file(found, path, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"]["files"] = {path.name: sha256(path)}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("bits", [0x7E00, 0x7C00, -1024])
def test_scales_that_are_no_numbers(folder: Path, bits: int) -> None:
    scale = load_file(folder / "model.safetensors")["hidden.scale"]
    scale.view(-1)[1] = bits  # NaN, infinity, -infinity in f16
    changed(folder, **{"hidden.scale": scale})
    with pytest.raises(FewbitsError, match="layer hidden: has scales or zero points that are NaN or infinite"):
        fewbits.load(folder, model=tiny.Net())


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("hidden.codes", None, "is missing"),
        ("hidden.codes", torch.zeros(3, dtype=torch.uint8), "is saved as 3, but the model's is"),
        ("hidden.scale", torch.zeros(16, dtype=torch.float16), r"is saved as torch\.float16, but the model's is torch\.int16"),
        ("hidden.bias", torch.zeros(16, dtype=torch.int32), r"is saved as torch\.int32, but the model's is floats"),
        ("hidden.bias", torch.zeros(16, dtype=torch.float8_e4m3fn), "but the model's is floats"),
        ("norm.num_batches_tracked", torch.tensor(1.0), r"but the model's is torch\.int64"),
        ("more", torch.zeros(1), "in the saved files, but not in the model"),
    ],
)
def test_other_tensors_than_the_plan_says(folder: Path, name: str, tensor: torch.Tensor | None, said: str) -> None:
    changed(folder, **{name: tensor})
    with pytest.raises(FewbitsError, match=f"tensor {name}: .*{said}"):
        fewbits.load(folder, model=tiny.Net())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "nowhere"}, "layer nowhere: the model has none of that name"),
        ({"name": "embed"}, "layer embed: is in the plan twice"),
        ({"tied_to": "nowhere"}, "layer hidden: is tied to nowhere, which stores no weight"),
        ({"tied_to": "hidden"}, "layer hidden: is tied to hidden, which stores no weight"),
        ({"tied_to": "embed"}, "layer hidden: is tied to embed, whose weight has another shape"),
        ({"scheme": "rtn:int9"}, "int has no 9 bits"),
        ({"scheme": "rtn:int4g99999999999999999999"}, "g99999999999999999999"),
        ({"params": -1}, "this decision is incomplete"),
        ({"params": True}, "this decision is incomplete"),
        ({"kind": None}, "this decision is incomplete"),
    ],
)
def test_decisions_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    plan = {"*embed": "rtn:int4", "*": "rtn:int4"}
    folder = fewbits.save(fewbits.quantize(tiny.Net().eval(), plan), tmp_path / "out")
    config = json.loads((folder / "config.json").read_text())
    decision = next(d for d in config["quantization_config"]["plan"]["decisions"] if d["name"] == "hidden")
    decision |= changes
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(FewbitsError, match=said):
        fewbits.load(folder, model=tiny.Net())


@pytest.mark.parametrize("tied", [{"hidden.bias": "nowhere"}, {"nowhere": "hidden.bias"}])
def test_ties_that_do_not_fit(folder: Path, tied: dict[str, str]) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"]["tied"] = tied
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(FewbitsError, match=r"is tied to .* in config\.json, but not in the model"):
        fewbits.load(folder, model=tiny.Net())
