"""Texts and their tokens."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fewbits import data, models
from fewbits.data import hub_sets
from fewbits.data.text import hash_ids
from fewbits.errors import FewbitsError


class Letters:
    """A tokenizer of letters; it complains about special tokens, and about a text that is not read whole."""

    bos_token_id: int | None = 1

    def __call__(self, text: str, *, add_special_tokens: bool, verbose: bool) -> dict[str, list[int]]:
        if add_special_tokens or verbose:
            raise RuntimeError("special tokens or warnings were asked for")
        return {"input_ids": [ord(letter) for letter in text]}


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_bytes("Grün.\r\n\n  two\nthree\n".encode())
    return path


def test_a_file_is_read_as_pythons_text_mode_reads_it(book: Path) -> None:
    read = data.load_text(str(book), tokenizer=Letters())
    assert read.text == book.read_text(encoding="utf-8") == "Grün.\n\n  two\nthree\n"
    assert read.ids.tolist() == [ord(letter) for letter in read.text]
    assert (read.bos, read.source) == (1, str(book))


def test_the_first_tokens(book: Path) -> None:
    read = data.load_text(str(book), tokenizer=Letters(), max_tokens=3)
    assert read.ids.tolist() == [ord(letter) for letter in "Grü"]
    assert read.sha256 == hash_ids(torch.tensor([71, 114, 252]))
    assert read.sha256 != data.load_text(str(book), tokenizer=Letters(), max_tokens=4).sha256


def test_the_hash_is_of_64_bit_little_endian_ids() -> None:
    # printf '\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0' | sha256sum
    assert hash_ids(torch.tensor([1, 2])) == "sha256:0c730b69905c5ef7a4ca5269f72365400bde2dd2c04eaf9bbb3d1c4a265a0131"


def test_lines_until_there_are_enough(book: Path) -> None:
    def lines(most: int | None) -> list[str]:
        read = data.load_text(str(book), tokenizer=Letters(), max_tokens=most)
        return ["".join(map(chr, line.tolist())) for line in read.lines()]

    assert lines(None) == ["Grün.", "two", "three"]
    assert lines(5) == ["Grün."]
    assert lines(6) == ["Grün.", "two"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"abc\xff\xfe", "is not UTF-8 at byte 3"),
        (b"abc\0def", "has a NUL at byte 3"),
        (b"", "is empty"),
        (b" \r\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"x", "makes 1 tokens, too few"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(FewbitsError, match=rf"bad\.txt: {said}"):
        data.load_text(str(tmp_path / "bad.txt"), tokenizer=Letters())


def test_files_that_are_not_there(book: Path) -> None:
    with pytest.raises(FewbitsError, match=r"no such file; did you mean '.*book\.txt'\?"):
        data.load_text(str(book.with_name("bok.txt")), tokenizer=Letters())
    with pytest.raises(FewbitsError, match=r"did you mean 'wikitext2'\?"):
        data.load_text("wikitext", tokenizer=Letters())
    with pytest.raises(FewbitsError, match="is a folder, not a file"):
        data.load_text(str(book.parent), tokenizer=Letters())


def test_what_cannot_be_measured_on() -> None:
    with pytest.raises(FewbitsError, match="the model has no tokenizer"):
        data.load_text("demo", tokenizer=None)
    with pytest.raises(FewbitsError, match="1 tokens are too few"):
        data.load_text("demo", tokenizer=Letters(), max_tokens=1)


def test_the_demo_is_pythons_own_reference() -> None:
    from pydoc_data.topics import topics

    read = data.load_text("demo", tokenizer=Letters(), max_tokens=100)
    assert read.text.startswith(topics[min(topics)])
    assert len(read.text) == sum(map(len, topics.values())) + 2 * (len(topics) - 1)
    assert read.source.startswith("pydoc_data.topics of Python 3.")


def test_a_python_without_its_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(FewbitsError, match="comes without pydoc_data"):
        data.load_text("demo", tokenizer=Letters())


def test_a_real_tokenizer_says_nothing_of_long_texts(
    recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = models.load("demo").tokenizer
    tokenizer.model_max_length = 16
    read = data.load_text("demo", tokenizer=tokenizer, max_tokens=2000)
    assert read.ids.shape == (2000,)
    assert read.bos == tokenizer.bos_token_id == 0
    assert not (read.ids == 0).any()
    assert tokenizer.decode(read.ids[:50]) == read.text[: len(tokenizer.decode(read.ids[:50]))]
    assert not caplog.records and not recwarn.list


def test_wikitext2_is_rows_joined_by_blank_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    pyarrow: Any = pytest.importorskip("pyarrow")
    folder = tmp_path / "0a1b2c"
    (folder / "wikitext-2-raw-v1").mkdir(parents=True)
    table = pyarrow.table({"text": ["", " = A title = \n", "Text .\n"]})
    parquet.write_table(table, folder / "wikitext-2-raw-v1" / "test-00000-of-00001.parquet")
    monkeypatch.setattr(hub_sets, "snapshot", lambda *_, **__: folder)
    read = data.load_text("wikitext2", tokenizer=Letters())
    assert read.text == "\n\n = A title = \n\n\nText .\n"
    assert read.source == "Salesforce/wikitext@0a1b2c wikitext-2-raw-v1 test"


def test_wikitext2_without_network_or_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FewbitsError, match=r"out of reach .* give a file of plain text instead of wikitext2"):
        data.load_text("wikitext2", tokenizer=Letters())
    monkeypatch.setattr(hub_sets, "snapshot", lambda *_, **__: tmp_path)
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(FewbitsError, match=r"pip install 'fewbits\[data\]'"):
        data.load_text("wikitext2", tokenizer=SimpleNamespace())
