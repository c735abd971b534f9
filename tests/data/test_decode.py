"""Bytes become text as Python's text mode has it."""

import codecs
from pathlib import Path

import pytest

from fewbits.data.decode import decode_text
from fewbits.errors import FewbitsError

TEXT = "Grün.\n\n  two\nthree \U0001f600\n"


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_newlines_and_encodings(newline: str, mark: bytes, encoding: str) -> None:
    assert decode_text(mark + TEXT.replace("\n", newline).encode(encoding), "book.txt") == TEXT


def test_as_pythons_text_mode(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_bytes(b"a\r\r\nb\n\rc\rd\r\n\x0b\x0c\xc2\x85\xe2\x80\xa8e\r")
    assert decode_text(path.read_bytes(), "book.txt") == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"abc\xff\xfe", "is not UTF-8 at byte 3: convert it to UTF-8"),
        ("naïve".encode("latin-1"), "is not UTF-8 at byte 2"),
        (codecs.BOM_UTF8 + b"ab\xff", "is not UTF-8 at byte 5"),
        (b"ab\xed\xa0\x80", "is not UTF-8 at byte 2"),
        (codecs.BOM_UTF16_LE + b"a\0b", "is not UTF-16 at byte 4"),
        (codecs.BOM_UTF16_BE + b"\0a\xd8\x00", "is not UTF-16 at byte 4"),
        (codecs.BOM_UTF32_LE + b"a\0\0\0\0\0\x11\0", "is not UTF-32 at byte 8"),
        (b"abc\0def", "has a NUL at byte 3"),
        ("abc".encode("utf-16-le"), "has a NUL at byte 1, so it is binary, or UTF-16 without a byte order mark"),
        (codecs.BOM_UTF16_LE + "ab\0".encode("utf-16-le"), "has a NUL at byte 6"),
        (codecs.BOM_UTF32_LE + "ab\0".encode("utf-32-le"), "has a NUL at byte 12"),
    ],
)
def test_what_is_no_text(content: bytes, said: str) -> None:
    with pytest.raises(FewbitsError, match=rf"^book\.txt: {said}") as caught:
        decode_text(content, "book.txt")
    assert "\n" not in str(caught.value)
