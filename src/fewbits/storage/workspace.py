"""The folder in which one run prepares its output, in the output's parent. It is locked, so its owner is known to be alive.

`.NAME.partial/new` is the output while it is being written, and `.NAME.partial/old` what was moved out of its way where the
file system cannot exchange two names. The lock is flock(2) on `.NAME.partial/lock`; it ends with the process, so a run that
finds it unlocked knows that the owner is dead, and removes what that left.
"""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fewbits.errors import FewbitsError
from fewbits.storage.manifest import is_saved_by_fewbits
from fewbits.storage.owned import foreign_file

try:
    import fcntl
except ImportError:  # Windows: runs are not kept apart
    fcntl = None

NEW, OLD, LOCK = "new", "old", "lock"
_ATTEMPTS = 100
_LONGEST = 200  # bytes of a name that ours can be made of: file systems allow 255
_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """Give a folder beside `folder` that belongs to this run alone until the block ends, and is then removed.

    Parents that do not exist are made, and removed again if the block leaves nothing in them. What dead runs on the same
    output left is removed first.

    Raises:
        FewbitsError: Another run is writing this output, or what was replaced cannot be removed.
        OSError: The folder cannot be made.
    """
    made = _make_parents(folder.parent)
    try:
        work, lock = _locked(folder)
        try:
            _restore(work, folder)
            _remove_old_strays(folder)
            yield work
        finally:
            _remove(work)
            os.close(lock)
    finally:
        for parent in made:
            _remove_if_empty(parent)


def sibling(folder: Path, what: str) -> Path:
    """A hidden name in a folder's parent, made of the folder's name, or of a digest of it if that is too long."""
    name = folder.name
    if len(os.fsencode(name)) > _LONGEST:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return folder.with_name(f".{name}.{what}")


def _make_parents(parent: Path) -> list[Path]:
    """Make a folder and those above it; return those that did not exist, the innermost first."""
    missing = [place for place in (parent, *parent.parents) if not place.exists()]
    parent.mkdir(parents=True, exist_ok=True)
    return missing


def _locked(folder: Path) -> tuple[Path, int]:
    """The locked workspace and the handle that holds the lock."""
    work = sibling(folder, "partial")
    for attempt in range(_ATTEMPTS):
        if os.path.lexists(work) and (work.is_symlink() or not work.is_dir()):
            raise FewbitsError(f"{work}: is in the way, and was not written by fewbits: move it away")
        try:
            work.mkdir(exist_ok=True)
            handle = os.open(work / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # the owner has just ended, and removed it; or no folder can be made here, as in /proc
            if attempt == _ATTEMPTS - 1:
                raise
            continue
        try:
            if _lock(handle, work, folder) and _is_at(work / LOCK, handle):
                return work, handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # the owner removed it before the lock was ours
    raise FewbitsError(f"{folder}: other runs are writing it: wait for them, or choose another folder")


def _lock(handle: int, work: Path, folder: Path) -> bool:
    """Lock a file without waiting. Raises FewbitsError if another process has the lock, or if it may have it."""
    busy = f"{folder}: another run is writing it: wait for that, or choose another folder"
    try:
        if fcntl is None:
            raise OSError(errno.ENOSYS, "")
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FewbitsError(busy) from None
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        if os.fstat(handle).st_size:  # no locks here, so the file's content is the mark
            raise FewbitsError(f"{busy}, or remove {work} if that run is dead") from None
        os.write(handle, b"locked")
    return True


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _restore(work: Path, folder: Path) -> None:
    """Undo what a dead run began: move back what it moved away, remove what it was writing."""
    if (work / OLD).is_dir() and not os.path.lexists(folder):
        (work / OLD).rename(folder)
    for place in (work / NEW, work / OLD):
        if is_saved_by_fewbits(place) and (name := foreign_file(place)):
            raise FewbitsError(f"{place}: a run that was killed left it, and it holds {name}: move that away")
    if strange := sorted(path.name for path in work.iterdir() if path.name not in (NEW, OLD, LOCK)):
        raise FewbitsError(f"{work}: holds {strange[0]}, which fewbits did not write: move it away")
    for place in (work / NEW, work / OLD):
        if place.exists():
            shutil.rmtree(place)


def _remove(work: Path) -> None:
    """Remove a workspace whose lock is held; what others put into it stays."""
    try:
        for place in (work / NEW, work / OLD):
            if place.exists():
                shutil.rmtree(place)
        (work / LOCK).unlink(missing_ok=True)
    except OSError as error:
        raise FewbitsError(f"{work}: cannot be removed: {error.strerror or error}; remove it by hand") from error
    _remove_if_empty(work)


def _remove_old_strays(folder: Path) -> None:
    """Remove what earlier versions left when they were killed; they named such folders at random and did not lock them."""
    replaced = sorted(_strays(folder, "replaced"))
    if replaced and not os.path.lexists(folder):
        replaced.pop().rename(folder)
    for stray in (*replaced, *_strays(folder, "partial")):
        if not (is_saved_by_fewbits(stray) and foreign_file(stray)):
            shutil.rmtree(stray, ignore_errors=True)


def _strays(folder: Path, what: str) -> Iterator[Path]:
    pattern = re.compile(rf"\.{re.escape(folder.name)}\.{what}-[0-9a-f]{{8}}")
    with os.scandir(folder.parent) as entries:
        names = [e.name for e in entries if pattern.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]
    yield from (folder.parent / name for name in names)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return
