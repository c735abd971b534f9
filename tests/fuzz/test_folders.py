"""Damaged folders end in one line, or load exactly as before. `FEWBITS_FUZZ=70` runs 10,500 of them instead of 150."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

CASES = 150 * int(os.environ.get("FEWBITS_FUZZ", "1"))
ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory and reads /proc as Linux has them")
@pytest.mark.timeout(120 + CASES)
def test_damaged_folders() -> None:
    """In a process of its own, whose memory is limited; a hang or a crash of it fails the test too."""
    command = [sys.executable, "-m", "tests.fuzz.run", str(CASES), "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["failures"] == []
    assert sum(report["outcomes"].values()) == CASES
    assert report["outcomes"]["refused"] > CASES // 3  # else the damages are none


def test_the_watch_sees_what_is_forbidden(tmp_path: Path) -> None:
    """The fuzzer's own alarm: code from a folder, a write outside, a connection, an unpickled class."""
    code = tmp_path / "evil.py"
    code.write_text("import pathlib\npathlib.Path(__file__).with_name('canary').write_text('ran')\n")
    script = f"""
import pickle, socket, sys
from pathlib import Path
from tests.fuzz.watch import Watch
watch = Watch(Path({str(tmp_path)!r}))
sys.path.insert(0, {str(tmp_path)!r})
import evil
pickle.loads(pickle.dumps(Path))
try:
    socket.create_connection(("127.0.0.1", 9))
except OSError:
    pass
watch.active = False
print(" ".join(each.split()[0] for each in watch.seen))
"""
    done = subprocess.run([sys.executable, "-B", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"exec", "write", "pickle.find_class", "socket.connect"} <= set(done.stdout.split())


def test_time_of_a_case_is_limited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tests.fuzz import run
    from tests.fuzz.subjects import Subject

    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "config.json").write_text("{}")
    (tmp_path / "work").mkdir()
    slow = Subject(name="slow", folder=tmp_path / "one", load=lambda folder: time.sleep(60), saved=True, state={})
    monkeypatch.setattr(run, "LIMIT", 1)
    with run.alarms():
        outcome, _, took = run.case_of(slow, tmp_path / "work", run.Random(0), seen=[])
    assert outcome == "hang" and took < 10
