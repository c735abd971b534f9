"""A study that is killed at any call, or finds the disk full, leaves whole files, and the next run goes on."""

import os
import resource
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from fewbits.errors import FewbitsError
from fewbits.study import reading, saved
from fewbits.study.run import run
from tests.fuzzing import TIMES
from tests.study import folders
from tests.test_whole import kill_at


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = folders.write(tmp_path)
    head = (
        path.read_text().partition("rows:")[0].replace("[size, accuracy, kl, latency]", "[size]").replace("alone: uint2\n", "")
    )
    path.write_text(head.replace("score: accuracy - size_MiB\n", "") + "rows: [keep, uint4, uint2]\n")
    return path


def ended(file: Path, out: Path, before: object = None) -> int:
    """Run the study in a process of its own, which is prepared first; how it ended."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        if callable(before):
            before()
        try:
            run(reading.read(file), out)
        except FewbitsError as error:
            os._exit(2 if str(error).isprintable() else 3)
        except BaseException:
            os._exit(4)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(
    ("call", "calls"),
    [("fsync", (1, 7)), *(pytest.param(c, range(0, 40, 8), marks=pytest.mark.slow) for c in ("replace", "open"))],
)
def test_a_kill_at_any_call(call: str, calls: Sequence[int], file: Path, tmp_path: Path) -> None:
    killed = 0
    for at in calls if TIMES == 1 else range(40):
        out = tmp_path / f"out{at}"
        killed += ended(file, out, lambda at=at: kill_at(call, at)) == -signal.SIGKILL
        if (out / saved.FILE).exists():
            assert saved.load(out).rows
        assert ended(file, out) == 0
        found = saved.load(out)
        assert [row.label for row in found.rows] == ["as it is", "rtn:uint4", "rtn:uint2"] and not found.missing
        assert not list(out.rglob("*.part"))
    assert killed


def test_a_full_disk_ends_in_one_line_and_the_next_run_goes_on(file: Path, tmp_path: Path) -> None:
    def full(size: int) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    for size in (0, 500, 3000):
        assert ended(file, tmp_path / "out", lambda size=size: full(size)) == 2
    assert ended(file, tmp_path / "out") == 0
    assert len(saved.load(tmp_path / "out").rows) == 3


def test_damaged_items_are_done_again(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(reading.read(file), out)
    for item, text in zip(
        (out / "items").glob("*.json"), ['{"key": "', '{"key": "@", "made": {"rows": 3}}', "[" * 100_000, "\0"], strict=False
    ):
        item.write_text(text.replace("@", item.stem))
    assert all(row.measures["size"].value > 0 for row in run(reading.read(file), out).rows)


def test_a_folder_that_cannot_be(file: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    os.mkfifo(tmp_path / "fifo")
    for out in (tmp_path / ("x" * 300), tmp_path / "full", tmp_path / "fifo", file, file / "below"):
        with pytest.raises(FewbitsError) as error:
            run(reading.read(file), out)
        assert str(error.value).isprintable() and str(out)[:200] in str(error.value)
