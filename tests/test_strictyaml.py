"""YAML within limits: whatever is in a file, the answer is its values or one line."""

import os
import time
from pathlib import Path

import pytest

from fewbits.errors import FewbitsError
from fewbits.strictyaml import parse, read

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (BOMB, "more than"),
        ("a: &a [*a]", "no anchor that ends before it"),
        ("&a {b: *a}", "no anchor that ends before it"),
        ("a: *nowhere", "no anchor"),
        ("a: &x 1\nb: &x 2", "twice"),
        ("[" * 100_000, "deep|nesting depth"),
        ("{a: " * 100_000, "deep|nesting depth"),
        ("- " * 100_000, "deep|nesting depth"),
        ("a: !!python/object/apply:os.system [ls]", "tag"),
        ("a: !!binary aGk=", "tag"),
        ("a: !!set {a}", "tag"),
        ("a: !mine x", "tag"),
        ("a: !!int 3", "tag"),
        ("base: &b {x: 1}\nc: {<<: *b}", "merge"),
        ("a: 1\n---\nb: 2", "second document"),
        ("a: 1\na: 2", "twice"),
        ("a: {b: 1, 'b': 2}", "twice"),
        ("? {a: 1}\n: 2", "a key is to be a word"),
        ("a: &k x\n*k : 1", "a key is to be a word"),
        ("?\n: 1", "key is empty"),
        ("a:\n\t- b", "line 2"),
        ("a: \0", "line 1"),
        ("x: 1\na: \x1b", "line 2"),
        ("", "empty"),
        ("# nothing\n", "empty"),
        ("---\n...\n", "empty"),
        ("%YAML 3.0\n---\na: 1", "line"),
        ("a: 2024-13-45", "line 1"),
        ("a: \ud800", "is no YAML"),
    ],
)
def test_what_is_refused(text: str, part: str) -> None:
    start = time.monotonic()
    with pytest.raises(FewbitsError) as error:
        parse(text, "f.yaml")
    message = str(error.value)
    assert (
        message.startswith("f.yaml")
        and any(each in message for each in part.split("|"))
        and "\n" not in message
        and len(message) < 500
    ), message
    assert time.monotonic() - start < 5


def test_aliases_stand_for_their_values() -> None:
    top = parse("a: &x {k: [1, 2]}\nb: *x\nc: [*x, 3]\n", "f.yaml")
    assert top.plain() == {"a": {"k": [1, 2]}, "b": {"k": [1, 2]}, "c": [{"k": [1, 2]}, 3]}
    assert top.mapping()["b"].key == "b"


def test_what_editors_write(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: [x,\r\n  y]\r\n")
    assert read(file)[0].plain() == {"a": 1, "b": ["x", "y"]}


def test_what_is_no_file_of_text(tmp_path: Path) -> None:
    fifo, large, latin, null = (tmp_path / name for name in ("fifo", "large", "latin", "null"))
    os.mkfifo(fifo)
    with large.open("wb") as file:
        file.truncate(100 << 20)
    latin.write_bytes(b"a: \xe9")
    null.write_bytes(b"a: \x00")
    for path, part in [
        (tmp_path, "directory"),
        (fifo, "regular file"),
        (large, "MiB"),
        (latin, "UTF-8"),
        (null, "line 1"),
        (tmp_path / "no.yaml", "no such file"),
        (tmp_path / ("x" * 300), "cannot be read"),
        (Path("a\0b"), "cannot be read"),
    ]:
        with pytest.raises(FewbitsError) as error:
            read(path)
        assert part in str(error.value) and "\n" not in str(error.value)
