"""CSV that spreadsheets show as it is written: no text of it is taken for a formula."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

from fewbits.errors import printable

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # a text that begins so may be run
LONGEST = 32_000  # characters of a cell; spreadsheets take 32,767


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV. Numbers stay numbers; texts that begin like a formula get a quotation mark in front.

    Control characters in texts are escaped.
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return text.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = printable(value, LONGEST)
    runs = value.startswith(FORMULA) or value.lstrip().startswith(FORMULA) or text.startswith(FORMULA)
    return f"'{text}" if runs else text
