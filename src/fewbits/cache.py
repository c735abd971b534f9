"""The cache folder: what can be made again, kept so that it need not be. Without one everything works, only slower.

The folder is $FEWBITS_CACHE, else `fewbits` in $XDG_CACHE_HOME, else ~/.cache/fewbits.
"""

import logging
import os
import tempfile
from functools import cache
from pathlib import Path

_log = logging.getLogger("fewbits")


def folder(*parts: str) -> Path | None:
    """A place in the cache folder, which may not exist; None if the user has no home and names no folder."""
    base = _base()
    if base is None:
        _warn("there is no cache folder: HOME is not set", "set FEWBITS_CACHE to a folder")
        return None
    return base.joinpath(*parts)


def read(path: Path | None) -> bytes | None:
    """The content of a file in the cache; None if it is not there or cannot be read."""
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError:
        return None


def write(path: Path | None, data: bytes) -> bool:
    """Keep a file in the cache, whole or not at all.

    Args:
        path: Its place, from `folder`; nothing is done for None.
        data: Its content.

    Returns:
        Whether it was kept. If not, one warning is logged in this process: the work goes on without the cache.
    """
    if path is None:
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(aside).replace(path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
    except OSError as error:
        _warn(f"{path.parent}: cannot be written: {error.strerror or error}", "set FEWBITS_CACHE to another folder")
        return False
    return True


def _base() -> Path | None:
    if own := os.environ.get("FEWBITS_CACHE"):
        return Path(own)
    if (theirs := Path(os.environ.get("XDG_CACHE_HOME", ""))).is_absolute():
        return theirs / "fewbits"
    try:
        home = Path.home()
    except RuntimeError:  # neither HOME nor an entry for this user
        return None
    return home / ".cache" / "fewbits" if home.is_absolute() else None


def _warn(what: str, way_out: str) -> None:
    """Log a warning, the first time in this process."""
    if not _said():
        _said().append(what)
        _log.warning("warning: %s; nothing is kept for the next run (%s)", what, way_out)


@cache
def _said() -> list[str]:
    """What was warned of in this process."""
    return []
