"""Files that are whole or absent: written under a temporary name, synced to the disk, then renamed."""

import os
import uuid
from collections.abc import Iterable
from pathlib import Path

from fewbits.errors import FewbitsError
from fewbits.strictjson import well_formed

SUFFIX = ".part"
LONGEST_NAME = 50  # characters of the final name that a temporary name repeats: 255 bytes in all


def write_whole(path: Path, text: str) -> None:
    """Write a text file atomically: after a kill at any moment the old file is there, or the new one.

    Args:
        path: The file; folders above it are made.
        text: Its content; lone surrogates, which UTF-8 cannot encode, become U+FFFD.

    Raises:
        FewbitsError: It cannot be written (a full disk, no permission, a name that is too long), or it is no regular
            file. What was there stays.
    """
    try:
        check_replaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, well_formed(text).encode())
    except FewbitsError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise FewbitsError(f"{path}: cannot be written: {reason}; what was there before is unchanged") from None


def check_replaceable(path: Path) -> None:
    """Raise FewbitsError for a device, FIFO or socket: renaming a file over /dev/null would remove it for all programs."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise FewbitsError(f"{path}: is a device, FIFO or socket: give the name of a file")


def remove_strays(folders: Iterable[Path]) -> None:
    """Remove the temporary files that killed processes of this machine left."""
    for folder in folders:
        for stray in folder.glob(f".*{SUFFIX}"):
            pid = stray.name.split(".")[-3] if stray.name.count(".") >= 4 else ""
            if pid.isdigit() and not _is_alive(int(pid)):
                stray.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    aside = path.with_name(f".{path.name[:LONGEST_NAME]}.{os.getpid()}.{uuid.uuid4().hex[:8]}{SUFFIX}")
    handle = os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)  # less the umask, as any other file
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Have the disk hold the rename too, on systems that can open a folder."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:  # some network file systems cannot
        pass
    finally:
        os.close(handle)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
