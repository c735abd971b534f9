"""Damages to a folder. Each takes a folder and a source of randomness, changes the folder, and says what it did."""

import hashlib
import json
import os
import shutil
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.values import EVIL, value

INDEX = "model.safetensors.index.json"
CANARY = "import pathlib; pathlib.Path(__file__).with_name('canary').write_text('ran')\nclass Class: pass\n"
Mutation = Callable[[Path, Random], str]


def flip(folder: Path, random: Random) -> str:
    """Other bytes at some places of a file."""
    path = _file(folder, random)
    data = bytearray(path.read_bytes())
    for _ in range(random.choice((1, 1, 1, 3, 20))):
        if data:
            data[random.randrange(len(data))] = random.randrange(256)
    path.write_bytes(data)
    return f"flip {path.name}"


def header_flip(folder: Path, random: Random) -> str:
    """Other bytes in the first part of a weight file, its checksum made right."""
    path = _weights(folder, random)
    data = bytearray(path.read_bytes())
    for _ in range(random.choice((1, 1, 3))):
        data[random.randrange(min(len(data), random.choice((8, 400))))] = random.randrange(256)
    path.write_bytes(data)
    sign(folder)
    return f"header flip {path.name}"


def truncate(folder: Path, random: Random) -> str:
    """The beginning of a file."""
    path = _file(folder, random)
    size = path.stat().st_size
    os.truncate(path, random.choice((0, 1, 7, 8, 9, size // 2, max(0, size - 1), random.randint(0, size))))
    if random.random() < 0.3:
        sign(folder)
    return f"truncate {path.name}"


def lengthen(folder: Path, random: Random) -> str:
    """Bytes after the end of a file."""
    path = _file(folder, random)
    with path.open("ab") as file:
        file.write(random.choice((b"\0", b"}", b"\xff\xfe", b"{}" * 50)))
    if random.random() < 0.3:
        sign(folder)
    return f"lengthen {path.name}"


def edit_json(folder: Path, random: Random) -> str:
    """Another value at a random place of a JSON file."""
    path = random.choice([p for p in sorted(folder.glob("*.json")) if p.is_file()])
    return _edited(path, random)


def edit_config(folder: Path, random: Random) -> str:
    """Another value at a random place of config.json."""
    return _edited(folder / "config.json", random)


def edit_other(folder: Path, random: Random) -> str:
    """Another value in what describes the tokenizer, the images or the generation."""
    return _edited(random.choice([p for p in sorted(folder.glob("*_config.json")) if p.is_file()]), random)


def edit_manifest(folder: Path, random: Random) -> str:
    """Another value in the manifest of a saved folder."""
    path = folder / "config.json"
    data = json.loads(_text(path))
    settings = data.get("quantization_config")
    if not isinstance(settings, dict):
        return edit_config(folder, random)
    said = _change(settings, random)
    path.write_text(json.dumps(data))
    return f"manifest {said}"


def edit_plan(folder: Path, random: Random) -> str:
    """Another value in one of the decisions of a saved folder's plan."""
    path = folder / "config.json"
    data = json.loads(_text(path))
    settings = data.get("quantization_config")
    decisions = settings.get("plan", {}).get("decisions") if isinstance(settings, dict) else None
    if not isinstance(decisions, list) or not decisions:
        return edit_config(folder, random)
    one, other = random.choice(decisions), random.choice(decisions)
    if random.random() < 0.3 and isinstance(one, dict) and isinstance(other, dict):
        key = random.choice(sorted(one))
        one[key] = other.get("name") if key == "tied_to" else other.get(key)
        said = f"{key} of another"
    elif random.random() < 0.2:
        decisions.append(dict(one) | {"tied_to": other.get("name")})
        said = "twice"
    else:
        said = _change(one, random)
    path.write_text(json.dumps(data))
    return f"plan {said}"


def edit_text(folder: Path, random: Random) -> str:
    """A text file that is no longer what a parser expects."""
    path = random.choice(
        [p for p in sorted(folder.iterdir()) if p.is_file() and p.suffix in (".json", ".yaml", ".jinja", ".txt")]
    )
    data = path.read_bytes()
    at = random.randint(0, len(data))
    new = random.choice((
        b"\xef\xbb\xbf" + data, data.decode().encode("utf-16"), b"[" * 100_000, b'{"a":' * 100_000, b"", b"null", b"1", b'"x"', b"[]",
        b"{}", b"\xff" + data, data[:at] + b"\0" + data[at:], data[:at] + b'"x": 1,' + data[at:], data[:at] + b"9" * 5000 + data[at:],
        b"{" + data.lstrip(b"{").replace(b"}", b"", 1), data.replace(b"{", b'{"model_type": "gpt2",', 1), data * 2, b"NaN", data[at:],
    ))  # fmt: skip
    path.write_bytes(new)
    return f"text {path.name}"


def edit_header(folder: Path, random: Random) -> str:
    """Another value in the header of a weight file, its checksum made right."""
    path = _weights(folder, random)
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    entry = random.choice(sorted(header))
    if random.random() < 0.7 and isinstance(header[entry], dict) and entry != "__metadata__":
        key = random.choice(("dtype", "shape", "data_offsets"))
        header[entry][key] = random.choice((
            value(random), "F64", "F8_E4M3", "F4", "BOOL", "I64", "C64", [2**32, 2**32], [-1, -1], [0], [], [0, 2**63], [8, 4], [1] * 5000,
        ))  # fmt: skip
    else:
        _change(header, random)
    text = json.dumps(header).encode()
    length = random.choice((len(text),) * 6 + (0, 2**63, 2**64 - 1, len(text) + 1, 100_000_001))
    path.write_bytes(struct.pack("<Q", length) + text + body)
    sign(folder)
    return f"header {path.name}"


def edit_names(folder: Path, random: Random) -> str:
    """Another file name in the index or the manifest, a file of that name beside the folder."""
    outside = folder.parent / "outside.safetensors"
    weights = _weights(folder, random)
    shutil.copy(weights, outside)
    shutil.copy(weights, folder / "decoy.safetensors")
    name = random.choice((
        "../outside.safetensors", str(outside), "decoy.safetensors", "./decoy.safetensors", "a/../decoy.safetensors", "", "\0",
        "x" * 300, ".", "/dev/zero", "config.json", "decoy.bin", "\u202e.safetensors",
    ))  # fmt: skip
    path = folder / "config.json"
    if (folder / INDEX).exists() and random.random() < 0.6:
        path = folder / INDEX
        data = json.loads(_text(path))
        data["weight_map"][random.choice(sorted(data["weight_map"]))] = name
    else:
        data = json.loads(_text(path))
        files = (data.get("quantization_config") or {}).get("files")
        if not isinstance(files, dict):
            (folder / INDEX).unlink(missing_ok=True)
            (folder / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
            return "decoy index"
        digest = hashlib.sha256(outside.read_bytes()).hexdigest()
        if random.random() < 0.5:
            files.clear()
        if random.random() < 0.7:
            files[name] = random.choice((digest, digest, "0" * 64, "", "x" * 64))
    path.write_text(json.dumps(data))
    return f"names {path.name} {name[:30]!r}"


def remove(folder: Path, random: Random) -> str:
    path = _file(folder, random)
    path.unlink()
    return f"remove {path.name}"


def swap(folder: Path, random: Random) -> str:
    """One file's content in another, or both exchanged."""
    one, other = _file(folder, random), _file(folder, random)
    a, b = one.read_bytes(), other.read_bytes()
    one.write_bytes(b)
    if random.random() < 0.5:
        other.write_bytes(a)
    return f"swap {one.name} {other.name}"


def special(folder: Path, random: Random) -> str:
    """Something else in place of a file: a folder, a FIFO, a socket, a device, a link."""
    path = _file(folder, random)
    data = path.read_bytes()
    path.unlink()
    kind = random.choice(("folder", "fifo", "socket", "zero", "null", "broken", "loop", "outside", "inside", "mode"))
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            here = Path.cwd()
            os.chdir(folder)  # a socket's path has at most 108 bytes
            server.bind(path.name)
            os.chdir(here)
    elif kind in ("zero", "null"):
        path.symlink_to(f"/dev/{kind}")
    elif kind == "broken":
        path.symlink_to("nowhere")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind in ("outside", "inside"):
        target = folder.parent / "outside" if kind == "outside" else folder / "inside.bin"
        target.write_bytes(data)
        path.symlink_to(target)
    else:
        path.write_bytes(data)
        path.chmod(0)
    return f"{kind} {path.name}"


def add(folder: Path, random: Random) -> str:
    """A file that some loader would look at, or run."""
    code = folder / "evil.py"
    code.write_text(CANARY)
    name, content = random.choice((
        ("adapter_config.json", json.dumps({"base_model_name_or_path": EVIL, "peft_type": "LORA"})),
        ("generation_config.json", json.dumps({"eos_token_id": value(random), "max_length": value(random)})),
        ("chat_template.jinja", "{% for i in range(99999) %}" * 20 + "x"),
        ("special_tokens_map.json", json.dumps({"bos_token": value(random)})),
        ("added_tokens.json", json.dumps({"<new>": value(random)})),
        ("preprocessor_config.json", json.dumps({"size": value(random), "image_mean": value(random), "do_resize": True})),
        ("tokenizer_config.json", json.dumps({"auto_map": {"AutoTokenizer": ["evil.Class", None]}, "tokenizer_class": "Class"})),
        ("processor_config.json", json.dumps({"auto_map": {"AutoProcessor": "evil.Class"}})),
        ("pytorch_model.bin", "no pickle"), ("model.safetensors.index.json", json.dumps({"weight_map": {"a": "pytorch_model.bin"}})),
        ("custom_generate.py", CANARY), ("modeling_llama.py", CANARY), ("__init__.py", CANARY), ("conftest.py", CANARY),
    ))  # fmt: skip
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_text(content)
    return f"add {name}"


def refer(folder: Path, random: Random) -> str:
    """Entries of config.json that name code or weights."""
    (folder / "evil.py").write_text(CANARY)
    path = folder / "config.json"
    data = json.loads(_text(path))
    data |= random.choice((
        {"auto_map": {"AutoConfig": "evil.Class", "AutoModelForCausalLM": "evil.Class"}, "model_type": "evil"},
        {"auto_map": {"AutoConfig": f"{EVIL}--evil.Class", "AutoModelForCausalLM": f"{EVIL}--evil.Class"}},
        {"_attn_implementation": EVIL}, {"attn_implementation": f"kernels-community/{EVIL}"}, {"_name_or_path": EVIL},
        {"architecture": f"hf-hub:{EVIL}"}, {"model_args": {"checkpoint_path": "evil.pth"}}, {"model_args": {"pretrained": True}},
        {"pretrained_cfg": {"source": "hf-hub", "hf_hub_id": EVIL, "url": "https://127.0.0.1:9/x"}}, {"architectures": ["pipeline"]},
        {"backbone": EVIL, "use_pretrained_backbone": True}, {"architectures": ["AutoConfig"]}, {"architectures": ["logging"]},
        {"transformers_weights": "../outside.safetensors"}, {"transformers_weights": "decoy.safetensors"},
        {"quantization_config": {"quant_method": "fewbits"}}, {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        {"architectures": []}, {"dtype": "load"}, {"torch_dtype": "float16"}, {"model_type": "timm_wrapper", "architecture": EVIL},
    ))  # fmt: skip
    path.write_text(json.dumps(data))
    return "refer"


def sign(folder: Path) -> None:
    """Make the checksums of a saved folder right again, as whoever changes a file on purpose would."""
    path = folder / "config.json"
    try:
        data = json.loads(_text(path))
        files = data["quantization_config"]["files"]
        for name in files:
            files[name] = hashlib.sha256(_bytes(folder / name)).hexdigest()
    except (OSError, ValueError, KeyError, TypeError):
        return
    path.write_text(json.dumps(data))


MUTATIONS: tuple[Mutation, ...] = (
    flip, header_flip, truncate, lengthen, edit_json, edit_other, edit_config, edit_config, edit_manifest, edit_manifest, edit_plan,
    edit_text, edit_header, edit_header, edit_names, remove, swap, special, add, refer,
)  # fmt: skip
SIGNED = ("header", "truncate", "lengthen")  # mutations after which a checksum may be right though the weights are others


def _file(folder: Path, random: Random) -> Path:
    return random.choice([path for path in sorted(folder.iterdir()) if path.is_file()])


def _weights(folder: Path, random: Random) -> Path:
    return random.choice([path for path in sorted(folder.glob("*.safetensors")) if path.is_file()])


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise OSError(f"{path} is no file")
    return path.read_bytes()


def _text(path: Path) -> str:
    """The text of a file; an earlier mutation may have put something in its place that cannot be read to its end."""
    if not path.is_file():
        raise OSError(f"{path} is no file")
    return path.read_text()


def _edited(path: Path, random: Random) -> str:
    data = json.loads(_text(path))
    said = _change(data, random)
    path.write_text(json.dumps(data))
    return f"{path.name} {said}"


def _change(data: Any, random: Random) -> str:
    """Change one entry somewhere in some JSON, in place."""
    place, key = data, None
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return "nothing"
        key = random.choice(keys)
        if not isinstance(place[key], dict | list) or not place[key] or random.random() < 0.15:
            break
        place = place[key]
    how = random.randrange(8)
    if how == 0:
        del place[key]
    elif how == 1 and isinstance(place, dict):
        place[str(value(random))[:5000]] = place.pop(key)
    elif how == 2:
        place[key] = [place[key]]
    else:
        place[key] = value(random)
    return f"{key}"[:60]
