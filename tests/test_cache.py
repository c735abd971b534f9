import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fewbits import cache
from fewbits.search.store import store_for

VARIABLES = ("FEWBITS_CACHE", "XDG_CACHE_HOME", "HOME")


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    cache._said.cache_clear()


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"FEWBITS_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a/x"),
        ({"FEWBITS_CACHE": "", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/fewbits/x"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/c"}, "/c/.cache/fewbits/x"),
        ({"HOME": "/c"}, "/c/.cache/fewbits/x"),
    ],
)
def test_one_folder_for_everything(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], place: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache.folder("x") == Path(place)
    assert str(store_for("y").folder).startswith(str(Path(place).parent / "search"))


def test_user_without_a_home(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    for _ in range(3):
        assert cache.folder("x") is None and not cache.write(cache.folder("x"), b"") and cache.read(None) is None
        assert store_for("y").get("key", lambda: 1) == 1
    assert [r.levelno for r in caplog.records] == [logging.WARNING] and "FEWBITS_CACHE" in caplog.text


@pytest.mark.parametrize("way", ["file", "below a file", "full"])
def test_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    place = tmp_path / "cache"
    if way == "full":
        full = OSError(28, os.strerror(28))
        monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(full))
    else:
        place.write_text("mine")
    monkeypatch.setenv("FEWBITS_CACHE", str(place if way != "below a file" else place / "deeper"))
    for name in ("a", "b"):
        path = cache.folder(name)
        assert store_for(name).get("key", lambda: 1) == 1
        assert not cache.write(path, b"data") and cache.read(path) is None
    assert len(caplog.records) == 1 and str(tmp_path) in caplog.text
    assert way == "full" or place.read_text() == "mine"
    assert way != "full" or not [p for p in place.rglob("*") if p.is_file()]


def test_what_was_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEWBITS_CACHE", str(tmp_path / "not" / "there"))
    path = cache.folder("deep", "file")
    assert cache.read(path) is None
    assert cache.write(path, b"one") and cache.write(path, b"two") and cache.read(path) == b"two"
    assert [p.name for p in (tmp_path / "not" / "there" / "deep").iterdir()] == ["file"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc is a folder that nobody can write to")
@pytest.mark.parametrize("home", ["/proc", "/dev/null"])
def test_command_without_a_home_that_can_be_written(home: str) -> None:
    """As in a container that runs with a user id of its own: the work goes on with one warning."""
    environment = {k: v for k, v in os.environ.items() if k not in VARIABLES} | {"HOME": home}
    command = [sys.executable, "-m", "fewbits", "tune", "demo", "--limit", "size<=20MiB", "--minimize", "kl", "--predict"]
    done = subprocess.run([*command, "--samples", "2"], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.count(home) == 1, done.stderr
