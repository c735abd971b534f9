"""A folder that is either whole or not there: written beside its place, and renamed when all of it is on the disk."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fewbits.errors import FewbitsError
from fewbits.storage.manifest import CONFIG, is_saved_by_fewbits


@contextmanager
def replaced(folder: Path, *, force: bool) -> Iterator[Path]:
    """Give a new folder beside `folder` to write into; when the block ends well it takes the place of `folder`.

    When the block raises, or cannot be finished, the new folder is removed and what was there stays. Raises FewbitsError
    where `folder` is in use (see `check_output`), and in place of OSError (a full disk, a folder that cannot be written to).
    """
    check_output(folder, force=force)
    partial = _sibling(folder, "partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        yield partial
        _sync(partial)
        _take_place(partial, folder)
    except OSError as error:
        raise FewbitsError(
            f"{folder}: cannot be written: {error.strerror or error}; what was there before is unchanged"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_output(folder: Path, *, force: bool) -> None:
    """Raise FewbitsError if the folder holds something: always if that is no saved model, else unless `force` is given."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FewbitsError(f"{folder}: is a file, not a folder")
    if not any(folder.iterdir()):
        return
    if not (folder / CONFIG).exists():
        raise FewbitsError(f"{folder}: holds something other than a saved model (no {CONFIG}): choose another folder")
    if not force:
        raise FewbitsError(f"{folder}: exists already: choose another folder, or replace it with --force (force=True)")


def check_not_original(folder: Path, *sources: str | None) -> None:
    """Raise FewbitsError if saving to the folder would replace the original model. A folder of our own may be saved anew."""
    for source in filter(None, sources):
        original = Path(source).expanduser()
        if not original.is_dir() or is_saved_by_fewbits(original):
            continue
        if folder.resolve() in (original.resolve(), *original.resolve().parents):
            raise FewbitsError(f"{folder}: is the folder of the original model, which stays: choose another folder")


def _sibling(folder: Path, what: str) -> Path:
    return folder.with_name(f".{folder.name}.{what}-{uuid.uuid4().hex[:8]}")


def _sync(folder: Path) -> None:
    """Have the disk hold every file before the rename, which may reach it first."""
    for path in (*folder.rglob("*"), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _take_place(partial: Path, folder: Path) -> None:
    if not folder.exists() or not any(folder.iterdir()):
        partial.rename(folder)  # an empty folder gives way
        return
    old = _sibling(folder, "replaced")
    folder.rename(old)
    try:
        partial.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    try:
        shutil.rmtree(old)
    except OSError as error:
        raise FewbitsError(f"{folder}: is written, but what it replaced is left in {old}: {error.strerror or error}") from error
