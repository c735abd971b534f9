"""The first tokens of a long text, without tokenizing the rest of it.

The ids are those that tokenizing the whole text gives. Where a tokenizer cuts near the end of a prefix may depend on what
follows, so a prefix ends between a word and the whitespace after it, the last tokens of a prefix are never used, and a
prefix twice as long has to begin with the same ids. A text without such places is tokenized whole.
"""

import re
from collections.abc import Callable, Sequence

CHARACTERS = 8  # per token, for the first prefix: more than English prose has, so that one prefix usually suffices
MARGIN = 256  # tokens at the end of a prefix that are not used
SEARCHED = 1 << 14  # characters in which a place to cut is looked for
_WORD_END = re.compile(r"(?<=\w)(?=\s)")

Tokenize = Callable[[str], Sequence[int]]


def first_tokens(tokenize: Tokenize, text: str, count: int) -> list[int]:
    """The first `count` ids of a text, fewer if it has fewer.

    Args:
        tokenize: Gives the ids of a text.
        text: The whole text.
        count: Number of ids wanted.
    """
    length = CHARACTERS * (count + MARGIN)
    before: list[int] | None = None
    while (end := _cut(text, length)) is not None:
        ids = list(tokenize(text[:end]))
        if len(ids) >= count + MARGIN:
            if before == ids[:count]:
                return ids[:count]
            before = ids[:count]
        length = 2 * end
    return list(tokenize(text))[:count]


def _cut(text: str, length: int) -> int | None:
    """The last end of a word before a position; None if there is none near, or the text is not much longer."""
    if 2 * length >= len(text):
        return None
    start = max(0, length - SEARCHED)
    ends = [match.start() for match in _WORD_END.finditer(text, start, length)]
    return ends[-1] if ends else None
