"""Files are looked at before they are opened: what they are, where they are, how large and how deep."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fewbits.data.npz import read_npz
from fewbits.data.text import read
from fewbits.errors import FewbitsError
from fewbits.files import (
    DEEPEST,
    check_file,
    check_folder,
    check_inside,
    check_link,
    open_regular,
    read_json,
    read_object,
    read_text,
)
from fewbits.search.asked import store_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.json"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "is missing"),
        ("folder", "is a folder, not a file"),
        ("fifo", "is a FIFO"),
        ("socket", "is a socket"),
        ("device", "is a device"),
        ("broken", "is a broken link"),
        ("loop", "cannot be read"),
    ],
)
def test_what_is_no_file(file: Path, kind: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)  # a socket's name has at most 108 bytes
    match kind:
        case "folder":
            file.mkdir()
        case "fifo":
            os.mkfifo(file)
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(file.name)
        case "device":
            file.symlink_to("/dev/zero")
        case "broken":
            file.symlink_to("nowhere")
        case "loop":
            file.symlink_to(file.name)
    for check in (check_file, read_text, read_json):
        with pytest.raises(FewbitsError, match=rf"config\.json: {said}"):
            check(file)
    if kind != "missing":
        with pytest.raises(FewbitsError, match=said):
            check_folder(file.parent)


@pytest.mark.parametrize("reading", [open_regular, lambda path: read(str(path)), read_npz, lambda path: store_of([path], {})])
def test_data_from_no_regular_file(tmp_path: Path, reading: Callable[[Path], object]) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, said in ((fifo, "is a FIFO, not a file"), (Path("/dev/zero"), "is a device, not a file")):
        with pytest.raises(FewbitsError, match=said):  # the one would block, the other has no end
            reading(path)


def test_a_name_that_is_too_long_or_no_name(tmp_path: Path) -> None:
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(FewbitsError, match="cannot be read"):
            check_file(tmp_path / name)
        with pytest.raises(FewbitsError):
            read(str(tmp_path / name))


DROPPED = """
import os, sys
from pathlib import Path
from fewbits.errors import FewbitsError
from fewbits.files import check_folder, read_json
os.setuid(65534)
for check, path in ((read_json, Path(sys.argv[1])), (check_folder, Path(sys.argv[1]).parent)):
    try:
        check(path)
    except FewbitsError as error:
        print(error)
"""


def test_a_file_that_may_not_be_read(file: Path) -> None:
    file.write_text("{}")
    file.chmod(0)
    if os.geteuid() != 0:
        with pytest.raises(FewbitsError, match="permission denied"):
            read_json(file)
        return
    for folder in (file.parent, *file.parent.parents):  # root gives up its rights in another process
        folder.chmod(folder.stat().st_mode | 0o005) if folder.is_relative_to("/tmp") and folder != Path("/tmp") else None
    done = subprocess.run([sys.executable, "-c", DROPPED, str(file)], capture_output=True, text=True, check=False)
    if not done.stdout:
        pytest.skip(f"another user cannot start Python here: {done.stderr[-200:]}")
    assert done.stdout.lower().count("permission denied") == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read as JSON"),
        (b"{", "cannot be read as JSON"),
        (b"\xff{}", "is no UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "is no UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1, "a": 2}', "the key 'a' is there twice"),
        (b'{"a": ' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 1), "nested deeper than"),
        (b'{"a": ' + b"9" * 5000 + b"}", "cannot be read as JSON"),
        (b"[]", "a JSON object is wanted; it is a list"),
        (b"1", "it is a int"),
        (b"null", "it is a NoneType"),
    ],
)
def test_what_is_no_json_object(file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)
    with pytest.raises(FewbitsError, match=said):
        read_object(file)


def test_json_that_is_read(file: Path) -> None:
    for data in ({"a": [1, {"b": None}], "é": "日本"}, {}):
        file.write_text(json.dumps(data))
        assert read_object(file) == data
    file.write_text('{"a": 1, "a": 1}')  # twice the same is no contradiction
    assert read_object(file) == {"a": 1}


def test_a_file_of_terabytes_is_not_read(file: Path) -> None:
    with file.open("wb") as opened:
        opened.truncate(2**40)  # takes no room on the disk
    for check in (read_text, lambda path: check_folder(path.parent)):
        with pytest.raises(FewbitsError, match="1099511627776 bytes, more than any such file"):
            check(file)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "", "\0", "C:\\x", "a\\..\\b", None, 1, ["x"], "a\nb"])
def test_names_that_lead_out_of_the_folder(tmp_path: Path, name: object) -> None:
    with pytest.raises(FewbitsError, match=r"config\.json: names"):
        check_inside(tmp_path, name, tmp_path / "config.json")


def test_links(tmp_path: Path) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.touch()
    (folder / "inside").touch()
    (folder / "to-inside").symlink_to("inside")
    (folder / "to-outside").symlink_to(outside)
    (tmp_path / "link").symlink_to(folder)
    for path in (folder / "inside", folder / "to-inside", tmp_path / "link" / "inside"):
        check_link(path.parent, path)
    with pytest.raises(FewbitsError, match=r"is a link to .*outside, outside its folder"):
        check_link(folder, folder / "to-outside")


def test_links_of_the_hubs_cache_are_followed(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--owner--name" / "snapshots" / "0a1b2c"
    snapshot.mkdir(parents=True)
    blobs = tmp_path / "models--owner--name" / "blobs"
    blobs.mkdir()
    (blobs / "abc").touch()
    (snapshot / "model.safetensors").symlink_to("../../blobs/abc")
    check_link(snapshot, snapshot / "model.safetensors")
    (tmp_path / "models--owner--name" / "other").touch()
    (snapshot / "config.json").symlink_to("../../other")
    with pytest.raises(FewbitsError, match="outside its folder"):
        check_link(snapshot, snapshot / "config.json")
