"""What the name of a model means."""

from pathlib import Path

import pytest

from fewbits.errors import FewbitsError
from fewbits.models.names import resolve


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with `models/llama-8m` and a file in it."""
    (tmp_path / "models" / "llama-8m").mkdir(parents=True)
    (tmp_path / "models" / "weights.gguf").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["demo", "demo-vision"])
def test_demos_are_folders_of_the_package(name: str) -> None:
    found = resolve(name)
    assert found.kind == "demo"
    assert found.folder is not None and (found.folder / "model.safetensors").is_file()


def test_a_folder_is_made_absolute(here: Path) -> None:
    for name in ("models/llama-8m", "./models/llama-8m/", here / "models" / "llama-8m"):
        found = resolve(name)
        assert (found.kind, found.folder) == ("folder", (here / "models" / "llama-8m").resolve())


def test_a_folder_in_the_home(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    assert resolve("~/models").folder == (here / "models").resolve()


def test_a_folder_named_like_a_hub_id_wins_over_the_hub(here: Path) -> None:
    (here / "owner" / "name").mkdir(parents=True)
    assert resolve("owner/name").kind == "folder"


@pytest.mark.parametrize(
    ("name", "repo", "revision"),
    [
        ("meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-1B", None),
        ("gpt2", "gpt2", None),
        ("owner/name@0a1b2c", "owner/name", "0a1b2c"),
        ("owner/name@refs/pr/1", "owner/name", "refs/pr/1"),
    ],
)
def test_hub_ids(name: str, repo: str, revision: str | None) -> None:
    found = resolve(name)
    assert (found.kind, found.text, found.revision, found.folder) == ("hub", repo, revision, None)


def test_timm() -> None:
    found = resolve("timm/resnet18.a1_in1k")
    assert (found.kind, found.text) == ("timm", "resnet18.a1_in1k")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("dmeo", "'demo'"),
        ("demo_vision", "'demo-vision'"),
        ("models/lama-8m", "'models/llama-8m'"),
        ("./models/llama8m", "'models/llama-8m'"),
        ("model", "'models'"),
    ],
)
def test_a_slip_of_the_pen_is_told_what_was_meant(name: str, meant: str) -> None:
    with pytest.raises(FewbitsError, match="no such folder") as raised:
        resolve(name)
    assert meant in str(raised.value)


@pytest.mark.parametrize("name", ["", "./nothing", "/no/such/thing", "a/b/c", "hello world", "C:\\models\\x", "nothing/"])
def test_what_can_be_nothing_is_told_what_can(name: str) -> None:
    with pytest.raises(FewbitsError, match="a model is a folder, a hub id"):
        resolve(name)


def test_a_file_is_no_model() -> None:
    with pytest.raises(FewbitsError, match="is a file; give the folder"):
        resolve("models/weights.gguf")
