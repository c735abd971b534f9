"""A run that is killed leaves a whole folder, the old or the new one, and nothing that the next run does not remove.

FEWBITS_FUZZ=N kills N times as often; from 12 on at every call of the operating system.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MORE = int(os.environ.get("FEWBITS_FUZZ", "1"))


def kills(way: str, folder: Path, first: int, step: int) -> dict[str, int]:
    """Kill at every `step`-th call from the `first` on; or `first` times at random, if `step` is 0."""
    command = [sys.executable, "-m", "tests.storage.killing", way, str(folder), str(first), str(step)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["kills"] > 3
    return found["left"]


@pytest.mark.parametrize(("way", "first"), [("new", 3), ("force", 7), ("two steps", 1)])
def test_killed_at_calls_of_the_system(tmp_path: Path, way: str, first: int) -> None:
    step = max(1, 12 // MORE)
    left = kills(way, tmp_path, first % step, step)
    assert left[{"new": "nothing", "force": "rtn:int4", "two steps": "rtn:int4"}[way]] and left["rtn:int8"]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["new", "force", "two steps"])
def test_killed_at_every_call_of_the_system(tmp_path: Path, way: str) -> None:
    kills(way, tmp_path, 0, 1)


@pytest.mark.parametrize("way", ["force"])
def test_killed_at_random_times(tmp_path: Path, way: str) -> None:
    kills(way, tmp_path, 10 * MORE, 0)
