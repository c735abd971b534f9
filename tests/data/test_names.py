"""What was meant by a name."""

from pathlib import Path

from fewbits.data.names import did_you_mean, near, near_paths, one_line


def test_near() -> None:
    assert near("dmeo", ["demo", "other"]) == ["demo"]
    assert near("DEMO", ["demo"]) == ["demo"]
    assert near("gpt2", ["demo", "wikitext2"]) == []


def test_near_paths_are_of_the_same_kind(tmp_path: Path) -> None:
    (tmp_path / "book.txt").touch()
    (tmp_path / "books").mkdir()
    assert near_paths(tmp_path / "bok.txt", folders=False) == [str(tmp_path / "book.txt")]
    assert near_paths(tmp_path / "book", folders=True) == [str(tmp_path / "books")]
    assert near_paths(tmp_path / "nowhere" / "book", folders=True) == []


def test_did_you_mean() -> None:
    assert did_you_mean([]) == ""
    assert did_you_mean(["a", "b"]) == "; did you mean 'a' or 'b'?"


def test_one_line() -> None:
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(KeyError("x")) == "KeyError 'x'"
    assert one_line(RuntimeError()) == "RuntimeError"
    assert len(one_line(ValueError("x" * 1000))) == 200
