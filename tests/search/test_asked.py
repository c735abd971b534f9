"""Answers that are kept belong to the content of the files."""

import os
from pathlib import Path

import pytest

from fewbits.search import asked


def test_content_names_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "model" / "tokenizer.json"
    file.parent.mkdir()

    def name(text: str) -> Path | None:
        file.write_text(text)
        os.utime(file, ns=(1, 1))
        return asked.store_of([file.parent], {"a": 1}).folder

    assert name("one") == name("one") and name("one") != name("two")


def test_a_large_file_written_at_its_old_time_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "LARGE", 2)
    file = tmp_path / "weights"
    file.write_text("one")
    before, folder = file.stat(), asked.store_of([file], {}).folder
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert asked.store_of([file], {}).folder != folder
