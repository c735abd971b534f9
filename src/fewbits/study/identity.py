"""What a result hangs on, as hashes: the model's files, the data, the plan, the measures, the version of this code."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fewbits
from fewbits import data
from fewbits.data.text import read
from fewbits.evaluate.settings import GENERATION, QUALITY, Settings
from fewbits.models import Loaded
from fewbits.models.names import resolve
from fewbits.models.weights import weight_files
from fewbits.plan import Plan

VERSION = 7  # of the figures: raise it when the same item would come to other numbers
_BESIDE = ("config.json", "tokenizer.json", "preprocessor_config.json", "fewbits.json", "plan.yaml")
_TIMED = (*GENERATION, "latency", "peak_memory")


def model_digest(loaded: Loaded, settings: Settings) -> str:
    """Of a local model the hash of its files; of one from the hub its commit, of timm's its name."""
    kind = resolve(loaded.source).kind
    if kind == "timm":
        return f"{loaded.source} {settings.classes}"
    folder = loaded.folder
    if kind == "hub" or folder is None:
        return loaded.source
    files = [folder / name for name in _BESIDE if (folder / name).is_file()]
    whole = hashlib.sha256()
    for path in (*files, *weight_files(folder)):
        with path.open("rb") as file:
            whole.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{whole.hexdigest()}"


def data_name(loaded: Loaded, settings: Settings) -> str | None:
    """The text or images that quality is measured on; None where it is not, or cannot be for want of a name."""
    if not QUALITY.intersection(settings.wanted(loaded.task)):
        return None
    if loaded.task == "causal-lm":
        return settings.text or "demo"
    return settings.images or ("demo" if loaded.source == "demo-vision" else None)


def data_digest(loaded: Loaded, settings: Settings) -> tuple[str, str]:
    """The hash of the data, and what it is called. Raises FewbitsError for data that is not there."""
    name = data_name(loaded, settings)
    if name is None:
        return "", ""
    if loaded.task == "causal-lm":
        text, source = read(name)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}", source
    images = data.load_images(name, max_images=settings.max_images, labels=loaded.labels, num_classes=loaded.num_classes)
    return images.sha256, images.source


def key_of(kind: str, **parts: Any) -> str:
    """The name of an item: 24 hexadecimal digits of the hash of all that made it."""
    text = json.dumps({"version": VERSION, "fewbits": fewbits.__version__, "kind": kind, **parts}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def plan_parts(plan: Plan | None) -> list[list[str | None]]:
    """What a plan does to each layer; how its rules were written does not matter."""
    if plan is None:
        return []
    return [[d.name, None if d.scheme is None else str(d.scheme)] for d in plan.decisions]


def settings_parts(settings: Settings, task: str) -> Mapping[str, Any]:
    """The settings that figures of this task hang on; where the data lies is not among them."""
    wanted = set(settings.wanted(task))
    names = ["device", "dtype"]
    if wanted & QUALITY:
        names += ["arithmetic", *(("protocol", "max_tokens", "batch_size") if task == "causal-lm" else ("max_images",))]
    if wanted & set(_TIMED):
        names += ["repeats", "seed", *(("prompt", "new_tokens") if task == "causal-lm" else ())]
    known = asdict(settings)
    return {"measures": sorted(wanted), **{name: known[name] for name in names}}


def absolute(name: str | None) -> str | None:
    """A path that means the same in every process; other names as they are."""
    return str(Path(name).expanduser().resolve()) if name and Path(name).expanduser().exists() else name
