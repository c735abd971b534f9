"""Plain text from bytes, as Python's text mode reads it: UTF-8, and every newline is \\n."""

import codecs

from fewbits.errors import FewbitsError

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decode_text(data: bytes, name: str) -> str:
    """Decode a text.

    A byte order mark selects UTF-8, UTF-16 or UTF-32 and is dropped; without one the text is UTF-8. Newlines are
    universal: CRLF and lone CR become LF.

    Args:
        data: The bytes of the text.
        name: The file, for messages.

    Raises:
        FewbitsError: Bytes that do not decode, with their offset; NUL characters.
    """
    mark, encoding = next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", "utf-8"))
    if mark == codecs.BOM_UTF32_LE and len(data) % 4:
        mark, encoding = codecs.BOM_UTF16_LE, "utf-16-le"  # a UTF-16 text that begins with NUL: refused below
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        what, at = encoding.upper().removesuffix("-LE").removesuffix("-BE"), error.start + len(mark)
        raise FewbitsError(f"{name}: is not {what} at byte {at:,}: convert it to UTF-8, or give a file of plain text") from None
    if "\0" in text:
        at = data.index(b"\0", len(mark)) if encoding == "utf-8" else len(mark) + text.index("\0") * int(encoding[4:6]) // 8
        raise FewbitsError(
            f"{name}: has a NUL at byte {at:,}, so it is binary, or UTF-16 without a byte order mark: convert it to UTF-8"
        )
    return universal_newlines(text)


def universal_newlines(text: str) -> str:
    """The text with CRLF and lone CR replaced by LF, as Python's text mode has it."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
