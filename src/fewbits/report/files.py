"""Files of a report: whole or not there, and one line if they cannot be written."""

from pathlib import Path

from fewbits.whole import write_whole


def write_text(text: str, path: Path) -> None:
    """Write a file, whole or not at all. Raises FewbitsError if it cannot be written."""
    write_whole(path, text)
