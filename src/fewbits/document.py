"""Values of a file that know their line, so that a mistake is named by its place: `demo.yaml, line 12, 'grid': ...`."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any, NoReturn

from fewbits.data.names import did_you_mean, near
from fewbits.errors import FewbitsError

LARGEST = 2**31 - 1  # of a count
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value of the file: a scalar, a list of values or a mapping of them, its line (from 1) and the key it is under.

    `raw` is a scalar as it is written in the file, without quotes.
    """

    data: Any
    line: int
    key: str
    file: str
    raw: str = ""
    keys: Mapping[str, int] = field(default_factory=dict)  # of a mapping: the line of each key

    def fail(self, problem: object) -> NoReturn:
        """Raise FewbitsError that names the file, the line and the key."""
        here = f"{place(self.file, self.line)}{f', {self.key!r}' if self.key else ''}: "
        raise FewbitsError(here + str(problem).removeprefix(here)) from None

    def mapping(self, allowed: Sequence[str] = (), what: str = "") -> "dict[str, Value]":
        """The values by key. Fails for what is no mapping, and for a key that is not allowed; `allowed` empty allows all."""
        if not isinstance(self.data, dict):
            self.fail(f"is to be a mapping{f' with {what or _list(allowed)}' if allowed or what else ''}, not {self.shown}")
        for key, line in self.keys.items():
            if allowed and key not in allowed:
                problem = f"unknown key; allowed here are {_list(allowed)}{did_you_mean(near(key, allowed))}"
                Value(data=None, line=line, key=key, file=self.file).fail(problem)
        return self.data

    def under(self, key: str) -> "Value":
        """The same value under another key, as an alias puts it."""
        return replace(self, key=key)

    def at_key(self, key: str) -> "Value":
        """The place of one of a mapping's keys, to fail there."""
        return Value(data=None, line=self.keys.get(key, self.line), key=key, file=self.file)

    def items(self) -> "list[Value]":
        """The values of a list; a single value is a list of one. Fails for an empty list."""
        if isinstance(self.data, list):
            return self.data or self.fail("is an empty list: name at least one, or leave the key out")
        return [self]

    def text(self) -> str:
        """A string that is not empty; a number or date is taken as it is written. Fails for control characters."""
        if isinstance(self.data, bool):
            self.fail(f"is to be a text, not {self.shown}: YAML reads {self.raw} as true or false; put it in quotes")
        if not isinstance(self.data, str | int | float):
            self.fail(f"is to be a text, not {self.shown}")
        text = self.raw.strip()
        if not text:
            self.fail("is empty: give a text, or leave the key out")
        if not text.replace("\n", " ").isprintable():
            self.fail(f"has a control or invisible character: {text!a:.80}")
        return text

    def whole(self, least: int = 1, most: int = LARGEST) -> int:
        """A whole number from `least` to `most`, in plain decimal digits."""
        if not isinstance(self.data, int) or isinstance(self.data, bool):
            self.fail(f"is to be a whole number from {least:,} on, not {self.shown}")
        if not _WHOLE.fullmatch(self.raw):
            self.fail(f"{self.raw} is {self.data} to YAML: write it as a plain decimal number")
        if not least <= self.data <= most:
            self.fail(f"is to be a whole number from {least:,} to {most:,}, not {self.shown}")
        return self.data

    def number(self) -> int | float:
        """A finite number, in plain decimal digits."""
        if isinstance(self.data, bool) or not isinstance(self.data, str | int | float) or not _NUMBER.fullmatch(self.raw):
            self.fail(f"is to be a number in decimal digits, not {self.shown}")
        value = int(self.raw) if _WHOLE.fullmatch(self.raw) and len(self.raw) < 30 else float(self.raw)
        if not isfinite(value):
            self.fail(f"is not finite: {self.raw:.40}")
        return value

    def one_of(self, choices: Sequence[str]) -> str:
        """One of some words."""
        if (text := self.text()) not in choices:
            self.fail(f"is '{text}', not one of {_list(choices)}{did_you_mean(near(text, choices))}")
        return text

    def plain(self) -> Any:
        """The value without its places."""
        if isinstance(self.data, dict):
            return {key: value.plain() for key, value in self.data.items()}
        return [value.plain() for value in self.data] if isinstance(self.data, list) else self.data

    def checked(self, make: Callable[[], Any]) -> Any:
        """What `make` returns; a FewbitsError of its own gets this place in front."""
        try:
            return make()
        except FewbitsError as error:
            self.fail(error)

    @property
    def shown(self) -> str:
        """The value for a message."""
        if isinstance(self.data, dict | list):
            kind = "mapping" if isinstance(self.data, dict) else "list"
            return f"a {kind} of {len(self.data)}" if self.data else f"an empty {kind}"
        text = repr(self.data) if isinstance(self.data, str | bool) else self.raw
        return "nothing" if self.data is None else text if len(text) < 60 else f"{text[:57]}..."


def place(file: str, line: int) -> str:
    """A line of a file, for messages; without a name the line alone."""
    return f"{file}, line {line}" if file else f"line {line}"


def _list(choices: Sequence[str]) -> str:
    return ", ".join(choices)
