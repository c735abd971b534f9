"""Files that are whole or not there, and one line where they cannot be."""

from pathlib import Path

from fewbits.errors import FewbitsError
from fewbits.study.files import write_whole


def write_text(text: str, path: Path) -> None:
    """Write a file, whole or not at all. Raises FewbitsError where it cannot be written."""
    try:
        write_whole(path, text)
    except OSError as error:
        raise FewbitsError(f"{path}: cannot be written ({error.strerror or error})") from None
