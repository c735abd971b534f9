"""The tokenizer of a folder."""

from pathlib import Path
from typing import Any

from fewbits import configs
from fewbits.errors import FewbitsError, shown
from fewbits.files import read_object
from fewbits.models.boundary import library
from fewbits.models.quiet import quietly, transformers
from fewbits.shards import present

FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
_SETTINGS = "tokenizer_config.json"


def tokenizer_of(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a folder, after it was tried on a word.

    Returns:
        transformers' tokenizer, or None if the folder has none.

    Raises:
        FewbitsError: The folder has one that cannot be loaded or used, or that names code of another repository.
    """
    if not any((folder / name).is_file() for name in FILES):
        return None
    _check_settings(folder)
    with quietly(), library(f"{folder}: its tokenizer cannot be loaded"):
        found = transformers().AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
        ids = found("a b")["input_ids"]
        if not isinstance(ids, list) or not all(isinstance(token, int) and token >= 0 for token in ids):
            raise FewbitsError(f"{folder}: its tokenizer makes {shown(ids)} of the text 'a b': copy or download it again")
        found.decode(ids)
    return found


def _check_settings(folder: Path) -> None:
    path = folder / _SETTINGS
    if not present(path):
        return
    try:
        configs.check_references(read_object(path))
    except FewbitsError as error:
        raise FewbitsError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None
