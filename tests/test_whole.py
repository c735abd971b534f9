"""A file is whole, old or new, whatever fails or is killed while it is written."""

import errno
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest

from fewbits.errors import FewbitsError
from fewbits.whole import remove_strays, write_whole


@pytest.mark.parametrize("call", ["open", "fsync", "replace", "write"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS])
def test_a_failing_call_leaves_the_old_file(call: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_whole(path, "old")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    if call == "write":
        monkeypatch.setattr(os, "fdopen", fail)
    else:
        monkeypatch.setattr(os, call, fail)
    with pytest.raises(FewbitsError, match=f"a.json: cannot be written: {os.strerror(code)}") as error:
        write_whole(path, "new")
    monkeypatch.undo()
    assert "\n" not in str(error.value) and path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "old")
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_whole(path, "x" * 100_000)
        except FewbitsError as error:
            os._exit(0 if "cannot be written" in str(error) else 3)
        os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("call", ["open", "fsync", "replace", "close"])
def test_a_kill_at_any_call(call: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "old")
    for at in range(3):
        child = os.fork()
        if child == 0:
            kill_at(call, at)
            write_whole(path, "new")
            os._exit(0)
        os.waitpid(child, 0)
        assert path.read_text() in ("old", "new")
    remove_strays([tmp_path])
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def kill_at(call: str, at: int) -> None:
    """Kill this process at one of its calls of a function of `os`, before it is done."""
    real, left = getattr(os, call), [at]

    def counted(*arguments: Any, **named: Any) -> Any:
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return real(*arguments, **named)

    setattr(os, call, counted)


def test_files_of_living_processes_stay(tmp_path: Path) -> None:
    mine = tmp_path / f".a.json.{os.getpid()}.0123abcd.part"
    mine.touch()
    (tmp_path / ".unknown.part").touch()
    remove_strays([tmp_path])
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["x" * 256, "é" * 200, "a\0b", "a/" + "y" * 300])
def test_names_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(FewbitsError, match="cannot be written") as error:
        write_whole(tmp_path / name, "x")
    assert str(error.value).isprintable()


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_no_device_is_replaced(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "out"
    place.symlink_to("/dev/null") if kind == "link" else os.mkfifo(place)
    with pytest.raises(FewbitsError, match="is a device, FIFO or socket"):
        write_whole(place, "new")
    assert [each.name for each in tmp_path.iterdir()] == ["out"] and not place.is_file()


def test_the_longest_names_that_files_can_have(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 127):
        write_whole(tmp_path / name, "new")
        assert (tmp_path / name).read_text() == "new"


def test_the_umask_counts(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
