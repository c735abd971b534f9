"""What a search has measured, kept on disk by the content that made it: a killed run goes on, a second limit starts from it.

One JSON file an item, written aside and then renamed. A folder holds what one model, one set of data and one version of this
code came to.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fewbits import cache as cache_files
from fewbits import strictjson

VERSION = 8  # of the figures: raise it when the same names would come to other numbers


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
        if path is None:
            return None
        try:
            item = strictjson.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None  # made anew, and replaced
        return item.get("value") if isinstance(item, dict) and item.get("key") == key else None

    def _write(self, key: str, value: Any) -> None:
        """Keep a value. A folder that cannot be written is said once in a process; what is known stays in memory."""
        cache_files.write(self._path(key), strictjson.dumps({"key": key, "value": value}).encode())


def store_for(*parts: str, cache: Path | None = None) -> Store:
    """The store of what these parts (hashes of model and data, settings) name, under the user's cache folder."""
    name = hashlib.sha256("\n".join((str(VERSION), *parts)).encode()).hexdigest()[:24]
    base = cache or cache_folder()
    return Store(None if base is None else base / name)


def cache_folder() -> Path | None:
    """`search` in the cache folder; None if there is no such folder."""
    return cache_files.folder("search")
