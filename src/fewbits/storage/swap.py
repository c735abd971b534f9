"""Renames of folders that cannot lose one: to a name that must be free, and an exchange of two names in one step.

Linux has renameat2 for both, macOS renamex_np. Both are one step of the file system, so a process that is killed leaves
either the old state or the new one.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Iterable
from pathlib import Path

_AT_FDCWD = -100
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


def rename_new(source: Path, target: Path) -> None:
    """Rename `source` to `target`, which must not exist.

    Where the file system cannot check that in the same step, rename(2) is used, which replaces an empty folder at most.

    Raises:
        FileExistsError: Something has that name already.
        OSError: Any other failure.
    """
    try:
        _rename_with_flags(source, target, linux=1, darwin=4)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        source.rename(target)


def exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step; return False, with nothing changed, where the file system cannot.

    Raises:
        OSError: Any other failure, such as a missing name.
    """
    try:
        _rename_with_flags(first, second, linux=2, darwin=2)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


def sync_tree(folder: Path) -> None:
    """Flush all files below a folder to the disk, then the folders."""
    sync(*(path for path in folder.rglob("*") if not path.is_symlink()), folder)


def sync(*paths: Path) -> None:
    """Flush files or folders to the disk. A folder's flush makes the names in it permanent."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:  # some file systems cannot flush a folder
                raise
        finally:
            os.close(handle)


def _rename_with_flags(source: Path, target: Path, *, linux: int, darwin: int) -> None:
    """The system call, with its error as OSError; ENOSYS on systems without it."""
    library = ctypes.CDLL(None, use_errno=True)
    name, arguments = _call(os.fsencode(source), os.fsencode(target), linux if sys.platform == "linux" else darwin)
    function = getattr(library, name, None) if name else None
    if function is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(target))
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def _call(source: bytes, target: bytes, flags: int) -> tuple[str, Iterable[object]]:
    """Name and arguments of this platform's function; no name where it has none."""
    if sys.platform == "linux":
        return "renameat2", (_AT_FDCWD, source, _AT_FDCWD, target, ctypes.c_uint(flags))
    if sys.platform == "darwin":
        return "renamex_np", (source, target, ctypes.c_uint(flags))
    return "", ()
