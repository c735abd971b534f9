"""Text for language models: a file of the user's, WikiText-2 from the hub, or the language reference that comes with Python."""

import hashlib
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from fewbits.data.decode import decode_text, universal_newlines
from fewbits.data.names import did_you_mean, near, near_paths
from fewbits.data.prefix import first_tokens
from fewbits.errors import FewbitsError
from fewbits.files import open_regular

BUILT_IN = ("demo", "wikitext2")


@dataclass(frozen=True, kw_only=True)
class TokenData:
    """A text and its tokens, without special tokens.

    `bos` is the id of the tokenizer's <bos>, None where it has none. `text` is the whole text, of which `ids` may be only the
    beginning. `source` says what was read, `sha256` is the hash of the ids as 64-bit little-endian integers.
    """

    ids: Int[Tensor, " n"] = field(repr=False)
    bos: int | None
    source: str
    sha256: str
    text: str = field(repr=False)
    tokenizer: Any = field(repr=False)

    def tokenize(self, text: str) -> Int[Tensor, " n"]:
        """Token ids of any text, as those of this one were made."""
        return tokenize(self.tokenizer, text)

    def lines(self) -> list[Int[Tensor, " _"]]:
        """Token ids of each line that is not blank, from the first on until they hold as many tokens as `ids`.

        For the protocol `sentences`: such a text has one sentence a line. The last one is whole.
        """
        found: list[Tensor] = []
        missing = self.ids.numel()
        for line in self.text.splitlines():
            if missing > 0 and line.strip():
                found.append(self.tokenize(line.strip()))
                missing -= found[-1].numel()
        return found


def load_text(name: str, *, tokenizer: Any, max_tokens: int | None = None) -> TokenData:
    """Read a text and tokenize it; with `max_tokens` only as much of it as its first `max_tokens` ids need.

    Args:
        name: A file of plain text (see `decode.decode_text`), `wikitext2` (the test rows of WikiText-2 raw, joined by blank
            lines; from the hub), or `demo`.
        tokenizer: The model's tokenizer.
        max_tokens: Number of ids to keep; None keeps all.

    Raises:
        FewbitsError: A file that is missing, empty or not text, a model without a tokenizer, fewer than 2 tokens, or a hub
            that is out of reach.
    """
    if tokenizer is None:
        raise FewbitsError("the model has no tokenizer, so it cannot read a text: a folder of one holds tokenizer.json")
    if max_tokens is not None and max_tokens < 2:
        raise FewbitsError(f"{max_tokens} tokens are too few: one is read and the next predicted, so at least 2")
    text, source = read(name)
    ids = tokenize(tokenizer, text, most=max_tokens)
    if ids.numel() < 2:
        raise FewbitsError(f"{source}: makes {ids.numel()} tokens, too few to measure on: at least 2")
    return TokenData(ids=ids, bos=tokenizer.bos_token_id, source=source, sha256=hash_ids(ids), text=text, tokenizer=tokenizer)


def tokenize(tokenizer: Any, text: str, *, most: int | None = None) -> Int[Tensor, " n"]:
    """Token ids of a text, without special tokens and without the warning that it is longer than the model's window.

    With `most` only as much of the text is tokenized as the first `most` ids need.
    """

    def ids_of(part: str) -> list[int]:
        return tokenizer(part, add_special_tokens=False, verbose=False)["input_ids"]

    return torch.tensor(ids_of(text) if most is None else first_tokens(ids_of, text, most), dtype=torch.int64)


def hash_ids(ids: Int[Tensor, " n"]) -> str:
    """`sha256:...` of token ids."""
    return f"sha256:{hashlib.sha256(ids.numpy().astype('<i8').tobytes()).hexdigest()}"


def read(name: str) -> tuple[str, str]:
    """The text and what it is called. Raises FewbitsError as `load_text` does."""
    match name:
        case "demo":
            return _language_reference()
        case "wikitext2":
            from fewbits.data.hub_sets import wikitext2

            text, source = wikitext2()
            return universal_newlines(text), source
    return _read_file(Path(name)), name


def _read_file(path: Path) -> str:
    try:
        with open_regular(path) as file:
            text = decode_text(file.read(), str(path))
    except FileNotFoundError:
        meant = near(str(path), BUILT_IN) or near_paths(path, folders=False)
        raise FewbitsError(f"{path}: no such file{did_you_mean(meant)} (a text is a file, {' or '.join(BUILT_IN)})") from None
    except OSError as error:
        raise FewbitsError(f"{path}: cannot be read: {error.strerror}") from None
    if not text.strip():
        raise FewbitsError(f"{path}: is empty, there is nothing to read in it")
    return text


def _language_reference() -> tuple[str, str]:
    """All topics of Python's own help, in the order of their names. The text differs a little from one Python to the next."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise FewbitsError("this Python comes without pydoc_data, the text of 'demo': give a file of plain text") from None
    return "\n\n".join(topics[name] for name in sorted(topics)), f"pydoc_data.topics of Python {platform.python_version()}"
