"""What `test_security.py` runs in a process of its own, under audit hooks: `python -m tests.security_driver FOLDER`.

The last line of standard output is JSON: for each case how it ended, and every forbidden event (network, code of a folder,
unpickling, subprocesses, writes outside of FOLDER/out and the cache).
"""

import contextlib
import io
import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import fewbits
from fewbits import FewbitsError, models
from fewbits.evaluate.compare import evaluate
from fewbits.evaluate.saving import quantize_to
from fewbits.evaluate.settings import Settings
from fewbits.models.quiet import quietly
from fewbits.plan import Plan
from tests.fuzz.mutations import CANARY, EVIL
from tests.fuzz.subjects import tokenizer
from tests.fuzz.watch import Watch
from tests.storage import tiny


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return Path.write_text, (self.place / "canary", "ran")


def edit(folder: Path, **changes: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def floating(folder: Path, **changes: Any) -> Path:
    """A float Llama with a tokenizer, code beside it."""
    with quietly():
        tiny.llama().save_pretrained(folder)
        tokenizer().save_pretrained(folder)
    (folder / "evil.py").write_text(CANARY)
    return edit(folder, **changes)


def saved(folder: Path, source: str | None = None, **changes: Any) -> Path:
    """A quantized Llama, code beside it."""
    fewbits.save(tiny.quantized("llama"), folder, tokenizer=tokenizer(), source=source)
    (folder / "evil.py").write_text(CANARY)
    return edit(folder, **changes)


def pickled(folder: Path, *, index: bool = False) -> Path:
    """A float Llama whose weights are a pickle that writes a file; with an index that names it."""
    floating(folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(folder)))
    if index:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "pytorch_model.bin"}}))
    return folder


def tokenizer_code(folder: Path) -> Path:
    floating(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"auto_map": {"AutoTokenizer": ["evil.Class", None]}, "tokenizer_class": "Class"}
    path.write_text(json.dumps(settings))
    return folder


def timm_elsewhere(folder: Path) -> Path:
    """A folder of timm's whose configuration names weights on the hub."""
    import timm
    from safetensors.torch import save_file
    from timm.models._hub import save_config_for_hf

    folder.mkdir()
    model = timm.create_model("test_vit", num_classes=5)
    save_config_for_hf(model, folder / "config.json")
    save_file(model.state_dict(), folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    config.get("model_args", {}).pop("num_classes", None)
    config["pretrained_cfg"] |= {"source": "hf-hub", "hf_hub_id": EVIL, "url": "https://127.0.0.1:9/x"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


CODE = {"auto_map": {"AutoConfig": "evil.Class", "AutoModelForCausalLM": "evil.Class"}, "model_type": "evil"}
OTHERS_CODE = {
    "auto_map": {"AutoConfig": f"{EVIL}--evil.Class", "AutoModelForCausalLM": f"{EVIL}--evil.Class"},
    "model_type": "evil",
}
KL = Settings(measures=("kl",), max_tokens=200, protocol="windows:32")


def cases(place: Path) -> dict[str, Callable[[], Any]]:
    """Every case by name; folders are made before the hooks are active."""

    def at(name: str) -> Path:
        return place / "models" / name

    (place / "models").mkdir(parents=True)
    plain, ours = floating(at("plain")), saved(at("saved"), source=EVIL)
    code, others = floating(at("code"), **CODE), floating(at("others"), **OTHERS_CODE)
    saved_code = saved(at("saved-code"), architectures=["Class"], **CODE)
    kernel, backbone = floating(at("kernel"), _attn_implementation=EVIL), floating(at("backbone"), use_pretrained_backbone=True)
    original_code = saved(at("original-code"), source=str(code))
    tokens = tokenizer_code(at("tokenizer"))
    pickles, index = pickled(at("pickle")), pickled(at("index"), index=True)
    made: dict[str, Callable[[], Any]] = {
        "plain": lambda: models.load(plain),
        "saved": lambda: models.load(ours),
        "from_pretrained": lambda: __import__("transformers").AutoModelForCausalLM.from_pretrained(ours),
        "shapes": lambda: models.shapes(plain),
        "quantize": lambda: quantize_to(str(plain), Plan.of("rtn:int4"), place / "out" / "made"),
        "eval of a folder whose original is on the hub": lambda: evaluate([str(ours)], [], KL),
        "code": lambda: models.load(code),
        "code of a saved folder": lambda: models.load(saved_code),
        "code of a tokenizer": lambda: models.load(tokens),
        "code of another repository, trusted": lambda: models.load(others, trust_remote_code=True),
        "code of an original, trusted": lambda: evaluate([str(original_code)], [], trusting(KL)),
        "code of a kernel": lambda: models.load(kernel),
        "weights of a backbone": lambda: models.load(backbone),
        "pickle": lambda: models.load(pickles),
        "pickle in an index": lambda: models.load(index),
    }
    with contextlib.suppress(ImportError):
        images = timm_elsewhere(at("timm"))
        made["timm weights elsewhere"] = lambda: models.load(images)
    made["control: code, trusted"] = lambda: models.load(code, trust_remote_code=True)
    return made


def trusting(settings: Settings) -> Settings:
    from dataclasses import replace

    return replace(settings, trust_remote_code=True)


def main(place: Path) -> None:
    torch.set_num_threads(1)
    (place / "out").mkdir()
    made = cases(place)
    watch = Watch(place / "models", writable=(place / "out", Path(os.environ["XDG_CACHE_HOME"])))
    report: dict[str, Any] = {}
    for name, case in made.items():
        watch.seen.clear()
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                case()
            outcome = "loaded"
        except FewbitsError as error:
            outcome = str(error)
        report[name] = {"outcome": outcome, "seen": list(watch.seen), "canaries": [str(p) for p in place.rglob("canary")]}
    watch.active = False
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
