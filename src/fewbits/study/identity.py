"""What a result depends on, as hashes of content: the model, token ids or images, the plan, the measures, this code's version.

A text counts as the token ids that the model reads, images as their labels, pixels and preparation: whatever changes them (the
file, the tokenizer, the processor, the classes) changes the key, and nothing else does.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from typing import Any

import fewbits
from fewbits import data
from fewbits.data.images import ImageData
from fewbits.data.text import load_text, read
from fewbits.evaluate.settings import GENERATION, QUALITY, Settings
from fewbits.measure.digest import hash_tokens
from fewbits.measure.protocols import Sentences, parse_protocol
from fewbits.models import Loaded
from fewbits.models.names import resolve
from fewbits.models.tokenizer import tokenizer_of
from fewbits.models.weights import weight_files
from fewbits.plan import Plan

VERSION = 8  # of the figures: raise it when the same item would come to other numbers
_BESIDE = (
    "config.json",
    "fewbits.json",
    "plan.yaml",
    "generation_config.json",
    "adapter_config.json",
    "adapter_model.safetensors",
)
_TIMED = (*GENERATION, "latency", "peak_memory")
_SAMPLE = 8  # images whose prepared pixels are hashed too


def model_digest(loaded: Loaded, settings: Settings) -> str:
    """Of a local model the hash of its weights and configuration, and of its code if that is trusted.

    A model from the hub is named by its commit, one of timm's by its name, configuration and timm's version.
    """
    kind = resolve(loaded.source).kind
    if kind == "timm":
        configured = getattr(loaded.model, "pretrained_cfg", None)
        return f"{loaded.source} {settings.classes} {metadata.version('timm')} {_hash(repr(configured).encode())}"
    folder = loaded.folder
    if kind == "hub" or folder is None:
        return loaded.source
    files = [folder / name for name in _BESIDE if (folder / name).is_file()]
    files += sorted(folder.glob("*.py")) if settings.trust_remote_code else []
    whole = hashlib.sha256()
    for path in (*files, *weight_files(folder)):
        with path.open("rb") as file:
            whole.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{whole.hexdigest()}"


def needs_data(loaded: Loaded, settings: Settings) -> bool:
    """Whether any measure of quality is taken."""
    return bool(QUALITY.intersection(settings.wanted(loaded.task)))


def data_name(loaded: Loaded, settings: Settings) -> str | None:
    """The text or images that quality is measured on; None if there is no default for this model."""
    if loaded.task == "causal-lm":
        return settings.text or "demo"
    return settings.images or ("demo" if loaded.source == "demo-vision" else None)


def data_digest(loaded: Loaded, settings: Settings) -> tuple[str, str]:
    """The hash of the data as the model reads it, and its name.

    Raises:
        FewbitsError: The data cannot be read.
    """
    name = data_name(loaded, settings)
    if name is None:
        return "", ""
    if loaded.task == "causal-lm":
        return _text_digest(name, loaded, settings)
    images = data.load_images(
        name,
        max_images=settings.max_images,
        processor=loaded.processor,
        labels=loaded.labels,
        num_classes=loaded.num_classes,
    )
    return _images_digest(images), images.source


def _text_digest(name: str, loaded: Loaded, settings: Settings) -> tuple[str, str]:
    """Of the token ids. A model of the hub is pinned by its commit, and its tokenizer may not be here yet: then of the text."""
    tokenizer = loaded.tokenizer
    if tokenizer is None and loaded.folder is not None and resolve(loaded.source).kind != "hub":
        tokenizer = tokenizer_of(loaded.folder, trust_remote_code=settings.trust_remote_code)
    if tokenizer is None:
        text, source = read(name)
        return _hash(text.encode()), source
    tokens = load_text(name, tokenizer=tokenizer, max_tokens=settings.max_tokens)
    lines = hash_tokens(tokens.lines()) if isinstance(parse_protocol(settings.protocol), Sentences) else ""
    return _hash(f"{tokens.sha256} {tokens.bos} {lines}".encode()), tokens.source


def _images_digest(images: ImageData) -> str:
    """Of labels and images as stored, of the steps that prepare them, and of some prepared pixels."""
    pixels = images.pixels(0, min(_SAMPLE, len(images)))
    parts = (
        images.sha256.encode(),
        repr(images.preparation).encode(),
        images.labels.numpy().tobytes(),
        pixels.numpy().tobytes(),
    )
    return _hash(b"".join(hashlib.sha256(part).digest() for part in parts))


def _hash(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def key_of(kind: str, **parts: Any) -> str:
    """The name of an item: 24 hexadecimal digits of the hash of all that made it."""
    text = json.dumps({"version": VERSION, "fewbits": fewbits.__version__, "kind": kind, **parts}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def plan_parts(plan: Plan | None) -> list[list[str | None]]:
    """What a plan does to each layer; how its rules were written does not matter."""
    if plan is None:
        return []
    return [[d.name, None if d.scheme is None else str(d.scheme)] for d in plan.decisions]


def settings_parts(settings: Settings, task: str, *, quality: bool = False) -> Mapping[str, Any]:
    """The settings that figures of this task depend on; the path of the data is not among them.

    `quality` adds those of the data, whatever is measured.
    """
    wanted = set(settings.wanted(task))
    names = ["device", "dtype"]
    if wanted & QUALITY or quality:
        names += ["arithmetic", *(("protocol", "max_tokens", "batch_size") if task == "causal-lm" else ("max_images",))]
    if wanted & set(_TIMED):
        names += ["repeats", "seed", *(("prompt", "new_tokens") if task == "causal-lm" else ())]
    known = asdict(settings)
    return {"measures": sorted(wanted), **{name: known[name] for name in names}}
