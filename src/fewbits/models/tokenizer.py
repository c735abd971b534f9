"""The tokenizer of a folder."""

from pathlib import Path
from typing import Any

from fewbits.data.names import one_line
from fewbits.errors import FewbitsError
from fewbits.models.quiet import quietly, transformers

FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")


def tokenizer_of(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer, or None where the folder has none. Raises FewbitsError where it has one that cannot be loaded."""
    if not any((folder / name).is_file() for name in FILES):
        return None
    with quietly():
        try:
            return transformers().AutoTokenizer.from_pretrained(
                folder, trust_remote_code=trust_remote_code, local_files_only=True
            )
        except Exception as error:  # of any type: a package that is missing, a file that is broken
            raise FewbitsError(f"{folder}: its tokenizer cannot be loaded: {one_line(error)}") from error
