"""Check every argument of every command before its work begins: text that is valid UTF-8, numbers that are finite and bounded."""

import functools
import inspect
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fewbits.errors import FewbitsError, printable

LARGEST = 2**31 - 1  # counts reach C code as 32-bit integers
LARGEST_OF = {
    "seed": 2**63 - 1,  # torch.Generator takes 64 bits
    "repeats": 10_000,
    "workers": 1024,
    "samples": 100_000,
    "batch_size": 1 << 20,
    "batch": 1 << 20,
    "prompt": 1 << 24,  # tokens made at random for a timing
    "new_tokens": 1 << 24,
    "max_new_tokens": 1 << 24,
    "context": 1 << 24,
    "temperature": 10_000,  # every token of any vocabulary is then as likely as every other
}
LONGEST = 4096  # characters of one argument that names something; a prompt may be longer
FREE_TEXT = ("prompt",)
SHOWN = 60  # characters of a value in a message


def checked(command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command so that its arguments are checked first.

    Args:
        command: A function that Typer calls with keyword arguments.

    Returns:
        The same command. It raises FewbitsError, which names the option and the value, for text that is not UTF-8 or too
        long, and for numbers that are not finite or too large.
    """

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        bound = inspect.signature(command).bind(*args, **kwargs).arguments
        for name, value in bound.items():
            for one in _each(value):
                _check(name, one)
        command(*args, **kwargs)

    return run


def _each(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        yield from value
    else:
        yield value


def _check(name: str, value: Any) -> None:
    if isinstance(value, bool):
        return
    if isinstance(value, str | Path):
        _check_text(name, str(value))
    elif isinstance(value, float) and not math.isfinite(value):
        raise FewbitsError(f"{_option(name)} is {value}: give a finite number")
    elif isinstance(value, int | float):
        largest = LARGEST_OF.get(name, LARGEST)
        if abs(value) > largest:
            raise FewbitsError(f"{_option(name)} is {printable(str(value), SHOWN)}: at most {largest:,}")


def _check_text(name: str, text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        raise FewbitsError(f"{_option(name)} is not valid UTF-8: '{printable(shown, SHOWN)}'") from None
    if "\0" in text:
        raise FewbitsError(f"{_option(name)} holds a NUL character: '{printable(text, SHOWN)}'")
    if len(text) > LONGEST and name not in FREE_TEXT:
        raise FewbitsError(f"{_option(name)} has {len(text):,} characters ('{printable(text, SHOWN)}'): at most {LONGEST:,}")


def _option(name: str) -> str:
    return name.replace("_", "-")
