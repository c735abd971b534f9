"""The items that are done, one file each under DIR/items, written whole: a kill at any moment loses none of them."""

import os
import shutil
from pathlib import Path
from typing import Any

from fewbits import strictjson
from fewbits.errors import FewbitsError
from fewbits.whole import remove_strays, write_whole

ITEMS, PARTS, FAILED = "items", "parts", "failed"


class ItemStore:
    """What is done, by key. `items/KEY.json` is done, `parts/KEY` is a long item on its way, `failed/KEY.txt` tells a failure."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Make the folder. Raises FewbitsError for one that holds something else."""
        try:
            if self.folder.exists() and not self.folder.is_dir():
                raise FewbitsError(f"{self.folder}: is a file: give a folder with -o")
            if self.folder.is_dir() and any(self.folder.iterdir()) and not (self.folder / ITEMS).is_dir():
                raise FewbitsError(f"{self.folder}: holds something that is no study: give another folder with -o")
            (self.folder / ITEMS).mkdir(parents=True, exist_ok=True)
            remove_strays([self.folder, self.folder / ITEMS, self.folder / FAILED])
        except OSError as error:
            raise FewbitsError(f"{self.folder}: cannot be made: {error.strerror}") from None
        if not os.access(self.folder / ITEMS, os.W_OK | os.X_OK):
            raise FewbitsError(f"{self.folder / ITEMS}: cannot be written: permission denied")

    def get(self, key: str) -> dict[str, Any] | None:
        """What was made; None for what is not done, or whose file is damaged: it is done again."""
        path = self._path(key)
        try:
            stored = strictjson.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        whole = isinstance(stored, dict) and stored.get("key") == key and isinstance(stored.get("made"), dict)
        return stored["made"] if whole else None

    def put(self, key: str, made: dict[str, Any]) -> None:
        """Keep what was made; its parts and what failed before are needed no longer."""
        write_whole(self._path(key), strictjson.dumps({"key": key, "made": made}))
        shutil.rmtree(self.parts(key), ignore_errors=True)
        self._failed(key).unlink(missing_ok=True)

    def put_failure(self, key: str, text: str) -> Path:
        """Keep where it went wrong, for whoever wants to know."""
        write_whole(self._failed(key), text)
        return self._failed(key)

    def forget(self, key: str) -> None:
        """Do it again."""
        self._path(key).unlink(missing_ok=True)
        shutil.rmtree(self.parts(key), ignore_errors=True)

    def parts(self, key: str) -> Path:
        """Where a long item may keep what it has so far."""
        return self.folder / PARTS / key

    def _path(self, key: str) -> Path:
        return self.folder / ITEMS / f"{key}.json"

    def _failed(self, key: str) -> Path:
        return self.folder / FAILED / f"{key}.txt"
