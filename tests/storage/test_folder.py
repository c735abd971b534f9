import errno
import json
import os
from pathlib import Path

import pytest

from fewbits import FewbitsError
from fewbits.storage import swap
from fewbits.storage.folder import check_not_original, check_output, replaced, reserved, written

MANIFEST = {"quantization_config": {"quant_method": "fewbits", "files": {"model.safetensors": "0"}}}
OLD, NEW = json.dumps(MANIFEST), json.dumps({**MANIFEST, "new": True})


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder that fewbits saved, as far as its files say."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "config.json").write_text(OLD)
    return folder


def write(folder: Path, *, force: bool = True) -> None:
    with replaced(folder, force=force) as place:
        (place / "config.json").write_text(NEW)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_new_folder_with_its_parents(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b", force=False)
    assert (tmp_path / "a" / "b" / "config.json").read_text() == NEW
    assert names(tmp_path / "a") == ["b"]


def test_empty_folder_gives_way(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(tmp_path / "out", force=False)
    assert (tmp_path / "out" / "config.json").read_text() == NEW


def test_force_replaces_all_of_the_old(old: Path) -> None:
    (old / "model.safetensors").write_text("old")
    write(old)
    assert names(old) == ["config.json"] and (old / "config.json").read_text() == NEW
    assert names(old.parent) == ["out"]


def test_saved_model_is_refused_without_force(old: Path) -> None:
    with pytest.raises(FewbitsError, match=r"out: exists already: .*--force"):
        write(old, force=False)
    assert (old / "config.json").read_text() == OLD


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
    assert names(old.parent) == ["out"] and (old / "config.json").read_text() == OLD


def test_interrupt_leaves_the_old_and_nothing_else(old: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replaced(old, force=True):
        raise KeyboardInterrupt
    assert names(old.parent) == ["out"] and (old / "config.json").read_text() == OLD


@pytest.mark.parametrize("exchanges", [True, False])
def test_old_returns_when_the_new_cannot_take_its_place(old: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool) -> None:
    def fail(*_: object) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    if exchanges:
        monkeypatch.setattr(swap, "exchange", fail)
    else:
        monkeypatch.setattr(swap, "exchange", lambda *_: False)
        monkeypatch.setattr(swap, "rename_new", fail)
    with pytest.raises(FewbitsError, match="cannot be written"):
        write(old)
    assert names(old.parent) == ["out"] and (old / "config.json").read_text() == OLD


def test_without_an_exchange_the_old_is_replaced_in_two_steps(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "exchange", lambda *_: False)
    write(old)
    assert names(old.parent) == ["out"] and (old / "config.json").read_text() == NEW


def test_original_stays(old: Path, tmp_path: Path) -> None:
    (old / "config.json").write_text("{}")
    for folder in (old, tmp_path):
        with pytest.raises(FewbitsError, match="folder of the original model"):
            check_not_original(folder, None, "owner/name", str(old))
    check_not_original(tmp_path / "other", str(old))


def test_link_to_the_original_is_the_original(old: Path, tmp_path: Path) -> None:
    (old / "config.json").write_text("{}")
    (tmp_path / "link").symlink_to(old)
    with pytest.raises(FewbitsError, match="folder of the original model"):
        check_not_original(tmp_path / "link", str(old))


def test_own_folder_may_be_saved_anew(old: Path) -> None:
    check_not_original(old, str(old))


FOREIGN = {
    "a float model": ({"config.json": '{"model_type": "llama"}', "model.safetensors": ""}, "was not saved by fewbits"),
    "a web project": ({"config.json": '{"port": 80}', "index.html": "mine"}, "was not saved by fewbits"),
    "no JSON": ({"config.json": "old"}, "was not saved by fewbits"),
    "another library's": ({"config.json": '{"quantization_config": {"quant_method": "gptq"}}'}, "was not saved by fewbits"),
    "a note": ({"config.json": OLD, "notes.txt": "mine"}, "holds notes.txt"),
    "hidden": ({"config.json": OLD, ".git/HEAD": "mine"}, r"holds \.git/HEAD"),
    "deep": ({"config.json": OLD, "checkpoints/1/model.safetensors": "mine"}, "holds checkpoints/1/model.safetensors"),
    "other weights": ({"config.json": OLD, "model-00001-of-00002.safetensors": "mine"}, "holds model-00001-of-00002"),
    "listed": (
        {"config.json": OLD.replace('"files"', '"written": ["config.json"], "files"'), "README.md": "mine"},
        "holds README",
    ),
}


@pytest.mark.parametrize("case", FOREIGN)
@pytest.mark.parametrize("force", [True, False])
def test_what_fewbits_did_not_write_is_never_replaced(tmp_path: Path, case: str, force: bool) -> None:
    files, message = FOREIGN[case]
    for name, text in files.items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text(text)
    with pytest.raises(FewbitsError, match=message) as caught:
        write(tmp_path / "out", force=force)
    assert "\n" not in str(caught.value)
    assert {name: (tmp_path / "out" / name).read_text() for name in files} == files
    assert names(tmp_path) == ["out"]


def test_links_and_empty_folders_are_foreign(old: Path, tmp_path: Path) -> None:
    (old / "empty").mkdir()
    with pytest.raises(FewbitsError, match="holds empty/"):
        write(old)
    (old / "empty").rmdir()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    (old / "link").symlink_to(tmp_path / "precious")
    with pytest.raises(FewbitsError, match="holds link"):
        write(old)
    assert (tmp_path / "precious" / "file").read_text() == "mine"


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("what", ["full", "empty", "saved", "file", "link"])
def test_what_appears_during_a_run_stays(tmp_path: Path, what: str, force: bool) -> None:
    out = tmp_path / "out"
    with pytest.raises(FewbitsError, match="during this run"), replaced(out, force=force) as place:
        (place / "config.json").write_text(NEW)
        if what == "file":
            out.write_text("mine")
        elif what == "link":
            out.symlink_to(tmp_path)
        else:
            out.mkdir()
        if what in ("full", "saved"):
            (out / "config.json").write_text(OLD if what == "saved" else "{}")
    assert names(tmp_path) == ["out"]
    assert what not in ("full", "saved") or (out / "config.json").read_text() != NEW


def test_what_appears_within_the_old_folder_stays(old: Path) -> None:
    with pytest.raises(FewbitsError, match=r"holds notes\.txt, which appeared during this run"), replaced(old, force=True):
        (old / "notes.txt").write_text("mine")
    assert names(old) == ["config.json", "notes.txt"] and names(old.parent) == ["out"]


def test_folder_that_was_replaced_during_the_run_stays(old: Path, tmp_path: Path) -> None:
    with pytest.raises(FewbitsError, match="replaced by something else during this run"), replaced(old, force=True):
        old.rename(tmp_path / "moved")
        old.mkdir()
        (old / "config.json").write_text(OLD)
    assert names(tmp_path) == ["moved", "out"] and names(old) == ["config.json"]


@pytest.mark.parametrize("name", [".", "..", "", "/", "out/..", "out/../.."])
def test_current_folder_and_root_are_refused(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FewbitsError, match=r"is the (current folder, or holds it|root of the file system)"):
        check_output(Path(name), force=True)
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("name", ["x" * 256, "a/" + "b" * 300, "\0", "a\0b", "/".join(["long" * 50] * 30)])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(FewbitsError, match="cannot be written") as caught:
        write(tmp_path / name)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "a b\n", "-", "\udcff"])
def test_names_that_can_be(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    write(tmp_path / name)
    assert names(tmp_path) == [name]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc is a folder that nobody can write to")
def test_parent_that_takes_no_folders(tmp_path: Path) -> None:
    with pytest.raises(FewbitsError, match="/proc/out: cannot be written"):
        write(Path("/proc/out"))


def test_links_as_outputs(old: Path, tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    with pytest.raises(FewbitsError, match=r"is a link to .*nothing, which does not exist"):
        write(tmp_path / "dangling")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(FewbitsError, match="loop"):
        write(tmp_path / "loop")
    (tmp_path / "link").symlink_to(old)
    write(tmp_path / "link")
    assert (old / "config.json").read_text() == NEW and (tmp_path / "link").is_symlink()


def test_one_of_two_runs_on_an_output_succeeds(tmp_path: Path) -> None:
    with reserved(tmp_path / "out", force=False) as output:
        with pytest.raises(FewbitsError, match="another run is writing it"):
            write(tmp_path / "out")
        with written(output) as place:
            (place / "config.json").write_text(NEW)
    assert (tmp_path / "out" / "config.json").read_text() == NEW and names(tmp_path) == ["out"]


def test_parents_that_were_made_are_removed_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replaced(tmp_path / "a" / "b" / "out", force=False):
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_strays_of_earlier_versions_are_removed(old: Path, tmp_path: Path) -> None:
    for name in (".out.partial-0123abcd", ".out.replaced-0123abcd", ".out.partial-mine", ".other.partial-0123abcd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("")
    write(old)
    assert names(tmp_path) == [".other.partial-0123abcd", ".out.partial-mine", "out"]


def test_folder_that_an_earlier_version_moved_away_comes_back(old: Path, tmp_path: Path) -> None:
    old.rename(tmp_path / ".out.replaced-0123abcd")
    with pytest.raises(FewbitsError, match="exists already"):
        write(old, force=False)
    assert names(tmp_path) == ["out"] and (old / "config.json").read_text() == OLD


def test_what_lies_in_the_way_of_the_workspace_stays(tmp_path: Path) -> None:
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "mine").write_text("mine")
    with pytest.raises(FewbitsError, match=r"\.out\.partial: holds mine, which fewbits did not write"):
        write(tmp_path / "out")
    assert (tmp_path / ".out.partial" / "mine").read_text() == "mine"
