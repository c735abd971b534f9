"""Files of a model's folder, opened only after a look at what they are: regular, inside the folder, of a bounded size.

A folder may come from anywhere. A FIFO in place of a file would be waited for forever, a link or a name such as `../x` would
lead out of the folder, and JSON of any depth or size would be read whole.
"""

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from fewbits.errors import FewbitsError, shown

MOST_TEXT = 256 * 2**20  # bytes of a text file that is read whole: the largest tokenizers have 40 MB
DEEPEST = 48  # levels of JSON; configurations have fewer than 10
_READ = (".json", ".safetensors", ".txt", ".model", ".jinja", ".yaml", ".py", ".tiktoken")  # what a loader may open
_KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def check_file(path: Path) -> os.stat_result:
    """Look at a file that is about to be read.

    Returns:
        What `os.stat` says of it.

    Raises:
        FewbitsError: It is missing, no regular file (a folder, a FIFO, a socket, a device), or may not be read.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        broken = path.is_symlink()
        raise FewbitsError(
            f"{path}: is {'a broken link' if broken else 'missing'}: copy or download the folder again"
        ) from None
    except (OSError, ValueError) as error:  # a loop of links, a name that is too long, a NUL in it
        raise FewbitsError(f"{path}: cannot be read: {reason(error)}") from None
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "a folder")
        raise FewbitsError(f"{path}: is {kind}, not a file: put the model's own file in its place")
    if not os.access(path, os.R_OK):
        raise FewbitsError(f"{path}: cannot be read: permission denied: check its mode and owner (chmod u+r)")
    return found


def open_regular(path: Path) -> BinaryIO:
    """Open a file of the user's, such as a text, to read its bytes; the caller closes it.

    A FIFO would block, and a device such as /dev/zero has no end.

    Raises:
        FewbitsError: It is no regular file, or its name cannot be one.
        OSError: It is missing or may not be opened.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except ValueError as error:  # a NUL in the name
        raise FewbitsError(f"{shown(str(path))}: cannot be read: {error}") from None
    mode = stat.S_IFMT(os.fstat(handle).st_mode)
    if mode != stat.S_IFREG:
        os.close(handle)
        kind = _KINDS.get(mode, "a folder")
        raise FewbitsError(f"{path}: is {kind}, not a file" + (": write it to a file first" if kind != "a folder" else ""))
    return os.fdopen(handle, "rb")


def check_folder(folder: Path) -> None:
    """Check every file of a model's folder that a loader may open, before another library opens it.

    Raises:
        FewbitsError: One of them is no regular file, is a broken link, or may not be read.
    """
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise FewbitsError(f"{folder}: cannot be read: {reason(error)}") from None
    for name in names:
        path = folder / name
        if name.endswith(_READ) or not (path.is_file() or path.is_dir()):
            found = check_file(path)
            if not name.endswith(".safetensors") and found.st_size > MOST_TEXT:
                raise FewbitsError(
                    f"{path}: has {found.st_size} bytes, more than any such file needs: copy or download it again"
                )


def check_inside(folder: Path, name: object, listed_in: Path) -> Path:
    """The path of a file that an index or manifest names.

    Raises:
        FewbitsError: The name is no plain relative path, or its folder part leads elsewhere.
    """
    way_out = "an index names files of its own folder: copy or download the folder again"
    if not isinstance(name, str) or not name or not name.isprintable():
        raise FewbitsError(f"{listed_in}: names the file {shown(name)}: {way_out}")
    parts = PurePosixPath(name).parts
    if name.startswith("/") or "\\" in name or ".." in parts or Path(name).is_absolute() or ":" in name:
        raise FewbitsError(f"{listed_in}: names {shown(name)}, which is outside its folder: {way_out}")
    return folder / name


def check_link(folder: Path, path: Path) -> None:
    """Raise FewbitsError for a link that leads out of a folder, unless it is one of the hub's cache to its blobs."""
    root, target = folder.resolve(), path.resolve()
    if target.is_relative_to(root):
        return
    repository = root.parent.parent
    if root.parent.name == "snapshots" and target.is_relative_to(repository / "blobs"):
        return
    raise FewbitsError(f"{path}: is a link to {target}, outside its folder: copy that file in its place")


def read_text(path: Path) -> str:
    """The text of a UTF-8 file.

    Raises:
        FewbitsError: See `check_file`; and for a file that is too large or no UTF-8.
    """
    if (size := check_file(path).st_size) > MOST_TEXT:
        raise FewbitsError(f"{path}: has {size} bytes, more than any such file needs: copy or download it again")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FewbitsError(
            f"{path}: is no UTF-8 text ({error.reason} at byte {error.start}): copy or download it again"
        ) from None
    except OSError as error:
        raise FewbitsError(f"{path}: cannot be read: {reason(error)}") from None


def read_json(path: Path) -> Any:
    """The JSON in a file.

    Raises:
        FewbitsError: See `read_text`; and for text that is no JSON, is nested too deeply, or gives one key two values.
    """
    text = read_text(path)
    if text.startswith("\ufeff"):
        raise FewbitsError(f"{path}: begins with a byte order mark: save it as UTF-8 without one")
    try:
        data = json.loads(text, object_pairs_hook=_without_contradiction)
    except RecursionError:
        raise FewbitsError(f"{path}: is nested too deeply for JSON of a model: copy or download it again") from None
    except ValueError as error:
        raise FewbitsError(f"{path}: cannot be read as JSON: {error}: copy or download it again") from None
    _check_depth(path, data)
    return data


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises FewbitsError as `read_json` does, and for JSON of another type."""
    data = read_json(path)
    if not isinstance(data, dict):
        raise FewbitsError(f"{path}: a JSON object is wanted; it is a {type(data).__name__}: copy or download it again")
    return data


def reason(error: Exception) -> str:
    """What the operating system says, without the path, which the message names already."""
    return getattr(error, "strerror", None) or str(error)


def _without_contradiction(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        for key, value in pairs:
            if made[key] != value:
                raise ValueError(f"the key {shown(key)} is there twice, with different values")
    return made


def _check_depth(path: Path, data: Any) -> None:
    level: Iterable[Any] = [data]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inner(outer)]
        if not level:
            return
    raise FewbitsError(f"{path}: is nested deeper than {DEEPEST} levels: copy or download it again")


def _inner(data: Any) -> Iterable[Any]:
    values = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return [value for value in values if isinstance(value, dict | list)]
