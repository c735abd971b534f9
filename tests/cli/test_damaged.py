"""Every command that takes a MODEL ends in one line for a damaged folder."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fewbits import save
from fewbits.models.quiet import quietly
from tests.cli.running import Runner, refused
from tests.fuzz.subjects import tokenizer
from tests.storage import tiny

Damage = Callable[[Path], Any]


def edit(**changes: Any) -> Damage:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def replaced(name: str, content: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content)


def fifo(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")


def folder_for_a_file(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()


DAMAGES: dict[str, tuple[Damage, str]] = {
    "layers": (edit(num_hidden_layers=2**31), "config.json: num_hidden_layers is 2147483648"),
    "deep": (replaced("config.json", b"[" * 100_000), "config.json: is nested too deeply"),
    "header": (replaced("model.safetensors", b"\xff" * 8 + b"{}"), "model.safetensors"),
    "fifo": (fifo, "tokenizer.json: is a FIFO"),
    "folder": (folder_for_a_file, "model.safetensors: is a folder"),
    "long": (edit(model_type="x" * 5_000_000), "xxx"),
}
COMMANDS: dict[str, tuple[str, ...]] = {
    "quantize": ("quantize", "MODEL", "rtn:int4", "-o", "OUT"),
    "eval": ("eval", "MODEL", "--measure", "size"),
    "size": ("size", "MODEL", "rtn:int4"),
    "generate": ("generate", "MODEL", "abc"),
    "doctor": ("doctor", "MODEL"),
    "inspect": ("inspect", "MODEL", "lm_head"),
    "sensitivity": ("sensitivity", "MODEL"),
    "tune": ("tune", "MODEL", "--limit", "size<=50%"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with quietly():
        tiny.llama().save_pretrained(tmp_path / "model")
        tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_one_line(fewbits: Runner, folder: Path, command: str, damage: str) -> None:
    hurt, said = DAMAGES[damage]
    hurt(folder)
    if command in ("size", "doctor") and damage == "header":
        pytest.skip("reads no weights")
    arguments = [str(folder) if a == "MODEL" else str(folder.parent / "out") if a == "OUT" else a for a in COMMANDS[command]]
    ended = fewbits(*arguments)
    refused(ended, said)
    assert len(ended.err) < 600
    assert not (folder.parent / "out").exists()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("command", ["eval", "generate", "inspect", "doctor"])
def test_one_line_for_a_saved_folder(fewbits: Runner, tmp_path: Path, command: str) -> None:
    saved = save(tiny.quantized("llama"), tmp_path / "out", tokenizer=tokenizer())
    data = bytearray((saved / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (saved / "model.safetensors").write_bytes(data)
    refused(
        fewbits(*(str(saved) if a == "MODEL" else a for a in COMMANDS[command])), "model.safetensors: was truncated or altered"
    )
