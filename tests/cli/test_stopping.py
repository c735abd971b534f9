"""How commands end from outside: signals, a full disk or a closed pipe in place of standard output."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MORE = int(os.environ.get("FEWBITS_FUZZ", "1"))
QUANTIZE = [sys.executable, "-m", "fewbits", "quantize", "demo", "rtn:int8", "-o"]
WHAT = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "the terminal was closed"}


def stopped(command: list[str], after: float, number: signal.Signals, folder: Path) -> tuple[int, str]:
    """Exit code and standard error of a command that got a signal after some seconds, twice as `timeout` sends it."""
    running = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(after)
    running.send_signal(number)
    time.sleep(0.01)
    running.send_signal(number)
    _, error = running.communicate(timeout=60)
    return running.returncode, error


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds until a run has reserved its output, which is before torch and the model are loaded."""
    folder = tmp_path_factory.mktemp("begun")
    start = time.perf_counter()
    running = subprocess.Popen([*QUANTIZE, "out"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (folder / ".out.partial").exists() and running.poll() is None:
        time.sleep(0.01)
    took = time.perf_counter() - start
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=60) == 128 + signal.SIGTERM
    assert list(folder.iterdir()) == []
    return took


@pytest.mark.parametrize("number", WHAT)
def test_signal_ends_in_one_line_and_cleans_up(tmp_path: Path, number: signal.Signals, begun: float) -> None:
    """The line comes from a run that had begun; before that the system ends it without one."""
    chance = random.Random(number)
    for after in (begun, *(chance.uniform(0.05, 2 * begun) for _ in range(MORE - 1))):
        code, error = stopped([*QUANTIZE, "out"], after, number, tmp_path)
        assert code in (0, 128 + number, -number), (after, code, error)
        assert "Traceback" not in error and "Exception" not in error, (after, error)
        assert code != 128 + number or error.endswith(f"error: {WHAT[number]}\n"), (after, error)
        assert [p.name for p in tmp_path.iterdir()] in ([], ["out"]), after
        if code == 0:
            assert (tmp_path / "out" / "config.json").exists()
            subprocess.run(["rm", "-r", str(tmp_path / "out")], check=True)


def test_ignored_signals_stay_ignored(tmp_path: Path) -> None:
    """As with nohup, and in the background of a script."""
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); from fewbits.cli import main; main()"
    running = subprocess.Popen([sys.executable, "-c", code, "size", "demo", "uint4"], stdout=subprocess.DEVNULL)
    for _ in range(5):
        time.sleep(0.2)
        running.send_signal(signal.SIGHUP)
    assert running.wait(timeout=60) in (0, -signal.SIGHUP)  # the first may come before it is ignored


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["size", "demo", "uint4g64", "--json"]])
def test_output_that_cannot_be_written(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fewbits", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2 and done.stderr == "error: standard output: No space left on device\n"


def test_pipe_that_is_closed() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "fewbits", "size", "demo", "uint4"], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert done.returncode in (1, 141) and done.stderr == b""


def test_closed_output() -> None:
    command = f"{sys.executable} -m fewbits size demo uint4 >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0 and done.stderr == b""
