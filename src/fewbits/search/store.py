"""What a search has measured, kept on disk by the content that made it: a killed run goes on, a second limit starts from it.

One JSON file an item, written aside and then renamed. A folder holds what one model, one set of data and one version of this
code came to.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

VERSION = 7  # of the figures: raise it when the same names would come to other numbers


class Store:
    """Remembers plain data by key; without a folder, for this run alone."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._known: dict[str, Any] = {}
        self.made = 0

    def get(self, key: str, make: Callable[[], Any]) -> Any:
        """What is stored under the key, or what `make` returns, which is stored."""
        if key in self._known:
            return self._known[key]
        value = self._read(key)
        if value is None:
            value = make()
            self.made += 1
            self.put(key, value)
        self._known[key] = value
        return value

    def put(self, key: str, value: Any) -> None:
        """Store a value, in place of what there is."""
        self._known[key] = value
        self._write(key, value)

    def known(self, key: str) -> Any:
        """What is stored under the key; None where nothing is."""
        return self._known[key] if key in self._known else self._read(key)

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"

    def _read(self, key: str) -> Any:
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            item = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            return None  # made anew, and replaced
        return item["value"] if item.get("key") == key else None

    def _write(self, key: str, value: Any) -> None:
        path = self._path(key)
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"key": key, "value": value}, file)
        Path(aside).replace(path)


def store_for(*parts: str, cache: Path | None = None) -> Store:
    """The store of what these parts (hashes of model and data, settings) name, under the user's cache folder."""
    name = hashlib.sha256("\n".join((str(VERSION), *parts)).encode()).hexdigest()[:24]
    return Store((cache or cache_folder()) / name)


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/fewbits/search`, or the same under ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fewbits" / "search"
