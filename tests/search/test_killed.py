"""A search that is killed with -9, again and again, comes to what it would have come to."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_twelve_kills(tmp_path: Path) -> None:
    found = [_run(tmp_path / name, kills) for name, kills in (("whole", 0), ("killed", 12))]
    (none, *plan), (killed, *again) = found
    assert int(none) == 0 and int(killed) >= 6
    assert again == plan and "uint2" in plan[0] and "uint4" in plan[0]


def _run(cache: Path, kills: int) -> list[str]:
    command = [sys.executable, "-m", "tests.search.killing", cache, kills, 2]
    ended = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    return ended.stdout.splitlines()
