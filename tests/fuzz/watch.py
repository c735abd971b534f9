"""What code does that it must not do: Python's audit events of network, code, processes and files."""

import os
import sys
from pathlib import Path
from typing import Any

from transformers.utils.hub import HF_MODULES_CACHE  # where transformers copies a folder's code to, and runs it

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
_CHANGES = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "shutil.rmtree",
)


class Watch:
    """Collects forbidden events in `seen` while `active`; files may be written below `writable` only.

    Code from below `place` or of transformers' copies of it, network, subprocesses and unpickling are forbidden.
    """

    def __init__(self, place: Path, *, writable: tuple[Path, ...] = ()) -> None:
        self.place = str(place.resolve())
        self.writable = tuple(str(path.resolve()) for path in writable)
        self.seen: list[str] = []
        self.active = True
        sys.addaudithook(self._event)  # there is no way to take one out again

    def _event(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event in (
            "socket.connect",
            "socket.getaddrinfo",
            "socket.bind",
            "subprocess.Popen",
            "os.system",
            "pickle.find_class",
        ):
            self._note(event, args)
        elif event == "open" and self._is_write(args) and not self._may_write(args[0]):
            self._note("write", args)
        elif event == "exec" and self._is_ours(getattr(args[0], "co_filename", "")):
            self._note("exec", (args[0].co_filename,))
        elif event == "import" and self._is_ours(args[1]):
            self._note("import", args[:2])
        elif event in _CHANGES and not self._may_write(args[0]):
            self._note(event, args)

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        self.active = False  # while the event is described
        self.seen.append(f"{event} {args!r}"[:300])
        self.active = True

    def _is_ours(self, path: object) -> bool:
        return isinstance(path, str) and path.startswith((self.place, HF_MODULES_CACHE))

    def _is_write(self, args: tuple[Any, ...]) -> bool:
        _, mode, flags = args
        if isinstance(mode, str):
            return any(letter in mode for letter in "wax+")
        return bool(flags & _WRITES)

    def _may_write(self, path: object) -> bool:
        if isinstance(path, int):
            return True  # a descriptor that was opened before
        text = os.fsdecode(path) if isinstance(path, bytes | str | os.PathLike) else ""
        return text == os.devnull or os.path.realpath(text).startswith((*self.writable, "\0"))
