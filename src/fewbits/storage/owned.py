"""Which files of a folder fewbits wrote: only those may be replaced."""

import fnmatch
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fewbits.errors import FewbitsError
from fewbits.storage.manifest import CONFIG, METHOD, read_config

WRITTEN = "written"  # the manifest's list of all files of its folder
# What versions without that list wrote, and transformers with the model's own save_pretrained.
_KNOWN = (
    *(CONFIG, "generation_config.json", "plan.yaml", "README.md", "measurements.json", "model.safetensors.index.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model"),
    *("vocab.json", "vocab.txt", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "chat_template.jinja"),
    *("preprocessor_config.json", "processor_config.json", "report.html", "report.md", "tune.csv", "tune.json"),
)
_WEIGHTS = ("model.safetensors", "model-[0-9]*-of-[0-9]*.safetensors")


def foreign_file(folder: Path) -> str | None:
    """The name of something in a saved folder that fewbits did not write; None if all of it is its own.

    Raises:
        FewbitsError: The folder was not saved by fewbits.
    """
    is_ours = _test_of(_settings(folder))
    return next((name for name in _names(folder) if not is_ours(name)), None)


def all_files(folder: Path) -> list[str]:
    """The names of all files below a folder, relative to it, with `/` between folders."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


def _settings(folder: Path) -> dict[str, Any]:
    settings = read_config(folder).get("quantization_config")
    if not isinstance(settings, dict) or settings.get("quant_method") != METHOD:
        raise FewbitsError(f"{folder}: was not saved by fewbits")
    return settings


def _test_of(settings: dict[str, Any]) -> Callable[[str], bool]:
    """The test for names of files that a manifest accounts for."""
    written, files = settings.get(WRITTEN), settings.get("files")
    if isinstance(written, list) and CONFIG in written:
        return set(map(str, written)).__contains__
    names = {*_KNOWN, *(files if isinstance(files, dict) else ())}
    patterns = () if files else _WEIGHTS
    return lambda name: name in names or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _names(folder: Path) -> Iterator[str]:
    """All files below a folder, and its empty folders; links are not followed."""
    for place, folders, files in os.walk(folder):
        inner = Path(place).relative_to(folder)
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        yield from ((inner / name).as_posix() for name in (*files, *links))
        if inner.parts and not files and not folders:
            yield f"{inner.as_posix()}/"
