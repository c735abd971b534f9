"""Kills a process that saves a model, at a chosen call of the operating system or at a random time; run as a script.

    python -m tests.storage.killing WAY FOLDER FIRST STEP

The imports are made once. For each kill a child is forked, which saves over FOLDER/out and is killed; then the parent checks
that `out` is whole, and lets another child save again, which must leave nothing but `out`. The last line is a JSON document.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import fewbits
from fewbits import FewbitsError
from fewbits.storage import contents, swap
from fewbits.storage.folder import check_output
from fewbits.storage.manifest import Manifest, read_config
from tests.storage import tiny

CALLS = ("open", "os.", "shutil.", "ctypes.dlopen")
OLD, NEW = "rtn:int4", "rtn:int8"
KILLED = 137


def save(folder: Path, scheme: str) -> None:
    fewbits.save(tiny.net(scheme), folder, force=True)


def die_at(number: int) -> None:
    """Be killed at the call of that number; calls are counted from now on."""
    left = number

    def count() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os._exit(KILLED)  # like a kill, nothing of Python runs after it

    def around(plain: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            count()
            found = plain(*arguments)
            count()  # killed after the call, too
            return found

        return counted

    sys.addaudithook(lambda event, _: count() if event.startswith(CALLS) else None)
    os.fsync = around(os.fsync)
    swap._rename_with_flags = around_keywords(around, swap._rename_with_flags)


def around_keywords(around: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    return lambda source, target, **flags: around(lambda: plain(source, target, **flags))()


def without_exchange() -> None:
    swap.exchange = lambda *_: False


def forked(work: Callable[[], None]) -> int:
    """Run in a child, and return the child's number."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException as error:
        print(f"child: {error!r}", file=sys.stderr)
    finally:
        os._exit(1)


def ended(child: int) -> int:
    """Wait for a child: 0, its exit code, or the negative number of the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def state(folder: Path) -> str:
    """Which model a folder holds, whole: its scheme, or `nothing`."""
    if not folder.exists():
        return "nothing"
    settings = read_config(folder)["quantization_config"]
    present = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert present == settings["written"], (present, settings["written"])
    contents.checked_files(folder, Manifest.read(folder).files)
    check_output(folder, force=True)
    return str(Manifest.read(folder).plan)


def one(way: str, folder: Path, kill: Callable[[int], None] | None, number: int) -> tuple[str, int]:
    """Kill once, check, save again, check. Returns what the killed run left, and how it ended."""
    out, old = folder / "out", folder.parent / "old"
    if way != "new":
        shutil.copytree(old, out)

    def work() -> None:
        if way == "two steps":
            without_exchange()
        if kill is None:
            die_at(number)
        save(out, NEW)

    child = forked(work)
    if kill is not None:
        kill(child)
    code = ended(child)
    assert code in (0, KILLED, -signal.SIGKILL), code
    left = state(out)
    allowed = {"new": ("nothing", NEW), "force": (OLD, NEW), "two steps": (OLD, NEW, "nothing")}[way]
    assert left in allowed, (way, number, left)
    assert code != 0 or left == NEW
    if left == "nothing" and way == "two steps":
        check_restored(out)
    assert ended(forked(lambda: save(out, NEW))) == 0
    assert state(out) == NEW
    assert (present := [p.name for p in folder.iterdir()]) == ["out"], present
    shutil.rmtree(out)
    return left, code


def check_restored(out: Path) -> None:
    """Between the two steps the old model has another name; the next run gives it back before anything else."""

    def refused() -> None:
        try:
            fewbits.save(tiny.net(NEW), out)
        except FewbitsError as error:
            assert "exists already" in str(error), error
        else:
            raise AssertionError("the old model was forgotten")

    assert ended(forked(refused)) == 0
    assert state(out) == OLD


def main() -> None:
    way, folder, first, step = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    save(folder / "old", OLD)
    save(folder / "warm", NEW)  # lazy imports are made before the children are forked
    shutil.rmtree(folder / "warm")
    (folder / "work").mkdir()
    left: list[str] = []
    if step:
        for number in range(first, 100_000, step):
            found, code = one(way, folder / "work", None, number)
            left.append(found)
            if code == 0:
                break
    else:
        start = time.perf_counter()
        assert ended(forked(lambda: save(folder / "timed", NEW))) == 0
        took, chance = time.perf_counter() - start, random.Random(first)

        def kill(child: int) -> None:
            time.sleep(chance.uniform(0, took * 1.2))
            os.kill(child, signal.SIGKILL)

        left = [one(way, folder / "work", kill, number)[0] for number in range(first)]
    print(json.dumps({"kills": len(left), "left": {name: left.count(name) for name in sorted(set(left))}}))


if __name__ == "__main__":
    main()
