import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fewbits import FewbitsError
from fewbits.storage.folder import check_not_original, check_output, replaced


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder that looks like a saved model."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "config.json").write_text("old")
    return folder


def write(folder: Path, *, force: bool = True) -> None:
    with replaced(folder, force=force) as place:
        (place / "config.json").write_text("new")


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_new_folder_with_its_parents(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b", force=False)
    assert (tmp_path / "a" / "b" / "config.json").read_text() == "new"
    assert names(tmp_path / "a") == ["b"]


def test_empty_folder_gives_way(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(tmp_path / "out", force=False)
    assert (tmp_path / "out" / "config.json").read_text() == "new"


def test_force_replaces_all_of_the_old(old: Path) -> None:
    (old / "leftover.safetensors").write_text("old")
    write(old)
    assert names(old) == ["config.json"] and (old / "config.json").read_text() == "new"
    assert names(old.parent) == ["out"]


def test_saved_model_is_refused_without_force(old: Path) -> None:
    with pytest.raises(FewbitsError, match=r"out: exists already: .*--force"):
        write(old, force=False)
    assert (old / "config.json").read_text() == "old"


def test_other_folder_is_refused_with_force(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FewbitsError, match="something other than a saved model"):
        write(tmp_path)
    assert names(tmp_path) == ["thesis.tex"]


def test_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(FewbitsError, match="is a file"):
        check_output(tmp_path / "out", force=True)


def test_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FewbitsError, match=r"cannot be written: (Not a directory|File exists)"):
        write(tmp_path / "file" / "out")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_failure_leaves_the_old_and_nothing_else(old: Path, number: int) -> None:
    wrong = os.strerror(number)
    with pytest.raises(FewbitsError, match=f"cannot be written: {wrong}") as caught, replaced(old, force=True) as place:
        (place / "config.json").write_text("half")
        raise OSError(number, wrong)
    assert "\n" not in str(caught.value)
    assert names(old.parent) == ["out"] and (old / "config.json").read_text() == "old"


def test_interrupt_leaves_the_old_and_nothing_else(old: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replaced(old, force=True):
        raise KeyboardInterrupt
    assert names(old.parent) == ["out"] and (old / "config.json").read_text() == "old"


def test_old_returns_when_the_new_cannot_take_its_place(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.rename

    def fail_for_new(source: Path, target: Path) -> None:
        if "partial" in str(source):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_for_new)
    with pytest.raises(FewbitsError, match="cannot be written"):
        write(old)
    assert names(old.parent) == ["out"] and (old / "config.json").read_text() == "old"


KILLED = """
import os, signal, sys
from pathlib import Path
from fewbits.storage.folder import replaced
plain, left = os.rename, int(sys.argv[2])

def rename(*paths):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    plain(*paths)

os.rename = rename
with replaced(Path(sys.argv[1]), force=True) as place:
    (place / "config.json").write_text("new")
"""


@pytest.mark.parametrize("renames", [0, 1])
def test_killed_process_loses_nothing(old: Path, renames: int) -> None:
    """Killed before the old folder is moved it is in its place; killed after that both are there, under other names."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(old), str(renames)], check=False)
    assert done.returncode == -signal.SIGKILL
    texts = sorted(p.read_text() for p in old.parent.glob("*/config.json")) + sorted(
        p.read_text() for p in old.parent.glob(".out*/config.json")
    )
    assert sorted(set(texts)) == ["new", "old"]
    assert renames or (old / "config.json").read_text() == "old"


def test_original_stays(old: Path, tmp_path: Path) -> None:
    for folder in (old, tmp_path):
        with pytest.raises(FewbitsError, match="folder of the original model"):
            check_not_original(folder, None, "owner/name", str(old))
    check_not_original(tmp_path / "other", str(old))


def test_link_to_the_original_is_the_original(old: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(old)
    with pytest.raises(FewbitsError, match="folder of the original model"):
        check_not_original(tmp_path / "link", str(old))


def test_own_folder_may_be_saved_anew(old: Path) -> None:
    (old / "config.json").write_text('{"quantization_config": {"quant_method": "fewbits"}}')
    check_not_original(old, str(old))
