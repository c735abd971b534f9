"""Random strings and mutations of good ones, for the grammars that users write."""

import os
import random
import time
from collections.abc import Callable, Sequence

from fewbits.errors import FewbitsError

TIMES = max(1, int(os.environ.get("FEWBITS_FUZZ", "1")))  # multiplies the number of cases
LONGEST = 500  # characters of a message
SLOWEST = 10.0  # seconds that one case may take
_PIECES = (
    "\0", "\n", "\t", "\r\n", " ", "\u00a0", "\u202e", "\ufeff", "\ud800", "\x1b[31m", "é", "ß", "\u0663", "\u00b2", "\uff11", "\U0001d7dc",
    "\\", "'", '"', "`",
    "{", "}", "{}", "{0}", "{bits}", "{bits!r}", "{bits.x}", "{bits:>1000000000}", "%", "%s", "$", "&", "*", "&a", "*a", "!", "!!", "|",
    ">", "<<", "<=", ">=", "≤", "=", ":", ": ", ",", "-", "- ", "+", "#", "/", "@", "?", "(", ")", "[", "]", "((", "[[", "(a+)+$", "re:",
    "nan", "inf", "-inf", ".inf", ".nan", "1e999", "-1", "0", "00", "010", "1_000", "0x10", "1:30", "2024-01-01", "yes", "no", "null", "~",
    "true", "9" * 30, "9" * 5000, "a" * 2000, "[" * 300, "(" * 300, "{a: " * 60, "- " * 300, "__import__('os')", "lambda: 0", "g64", "z",
    "a8", "/q8", "keep", "uint4", "MiB", "%", "pt", "ms", "**", "9**9**9", ";", "\x85", "\u2028", "max(", "abs(", "not ", "and", "==",
)  # fmt: skip


def cases(good: Sequence[str], count: int, seed: int) -> list[str]:
    """So many mutations of good texts; every tenth is made of pieces alone."""
    rng = random.Random(seed)
    return [_mutated(rng, good) if at % 10 else _made(rng) for at in range(count * TIMES)]


def _made(rng: random.Random) -> str:
    return "".join(rng.choice(_PIECES) for _ in range(rng.randrange(6)))


def _mutated(rng: random.Random, good: Sequence[str]) -> str:
    text = rng.choice(good)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 6))):
        start = rng.randrange(len(text) + 1)
        stop = min(len(text), start + rng.choice((0, 0, 1, 1, 2, 5, 20)))
        kind = rng.randrange(5)
        if kind == 0:
            text = text[:start] + text[stop:]
        elif kind == 1:
            text = text[:start] + rng.choice(_PIECES) + text[stop:]
        elif kind == 2:
            text = text[:start] + text[start:stop] * rng.choice((2, 3, 50)) + text[stop:]
        elif kind == 3:
            other = rng.choice(good)
            cut = rng.randrange(len(other) + 1)
            text = text[:start] + other[cut : cut + rng.choice((1, 5, 30))] + text[stop:]
        else:
            text = text[:start] + chr(rng.choice((rng.randrange(128), rng.randrange(0x3000)))) + text[stop:]
    return text


def held(text: str, parse: Callable[[str], object]) -> object:
    """What a text parses to; None if it is refused in one line. Anything else, and any hang, fails."""
    start = time.monotonic()
    try:
        found = parse(text)
    except FewbitsError as error:
        message = str(error)
        assert message and len(message) < LONGEST and message.isprintable(), (text, message)
        found = None
    except BaseException as error:
        raise AssertionError(f"{text!r:.300} ended in {type(error).__name__}: {error}") from error
    assert time.monotonic() - start < SLOWEST, text
    return found
