"""YAML in which every value knows its line, so that a mistake is named by its place: `demo.yaml, line 12, 'grid': ...`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from fewbits.data.names import did_you_mean, near
from fewbits.errors import FewbitsError


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value of the file: a scalar, a list of values or a mapping of them, its line (from 1) and the key it is under."""

    data: Any
    line: int
    key: str
    file: str
    keys: Mapping[str, int] = field(default_factory=dict)  # of a mapping: the line of each key

    def fail(self, problem: object) -> NoReturn:
        """Raise FewbitsError that names the file, the line and the key."""
        raise FewbitsError(f"{self.file}, line {self.line}{f', {self.key!r}' if self.key else ''}: {problem}") from None

    def mapping(self, allowed: Sequence[str] = (), what: str = "") -> "dict[str, Value]":
        """The values by key. Fails for what is no mapping, and for a key that is not allowed; `allowed` empty allows all."""
        if not isinstance(self.data, dict):
            self.fail(f"is to be a mapping{f' with {what or _list(allowed)}' if allowed or what else ''}, not {self.shown}")
        for key, line in self.keys.items():
            if allowed and key not in allowed:
                problem = f"unknown key; allowed here are {_list(allowed)}{did_you_mean(near(key, allowed))}"
                Value(data=None, line=line, key=key, file=self.file).fail(problem)
        return self.data

    def items(self) -> "list[Value]":
        """The values of a list; a single value is a list of one."""
        return self.data if isinstance(self.data, list) else [self]

    def text(self) -> str:
        """A string; a number is taken as it reads."""
        if not isinstance(self.data, str | int | float) or isinstance(self.data, bool):
            self.fail(f"is to be a text, not {self.shown}")
        return str(self.data).strip()

    def whole(self, least: int = 1) -> int:
        """A whole number of at least `least`."""
        if not isinstance(self.data, int) or isinstance(self.data, bool) or self.data < least:
            self.fail(f"is to be a whole number from {least} on, not {self.shown}")
        return self.data

    def number(self) -> int | float:
        """A number."""
        if not isinstance(self.data, int | float) or isinstance(self.data, bool):
            self.fail(f"is to be a number, not {self.shown}")
        return self.data

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
        text = repr(self.plain())
        return "nothing" if self.data is None else text if len(text) < 60 else f"{text[:57]}..."


def read(path: Path) -> tuple[Value, str]:
    """The document and its text. Raises FewbitsError for a file that is missing, empty or no YAML, with the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        meant = (
            [str(p) for p in sorted(path.parent.glob("*.y*ml")) if near(path.name, [p.name])] if path.parent.is_dir() else []
        )
        raise FewbitsError(f"{path}: no such file{did_you_mean(meant)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FewbitsError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    return parse(text, str(path)), text


def parse(text: str, file: str) -> Value:
    """The document that a text holds."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise FewbitsError(f"{file}{line}: is no YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise FewbitsError(f"{file}: is no YAML: {' '.join(str(error).split())}") from None
    if node is None:
        raise FewbitsError(f"{file}: is empty")
    return _value(node, "", file)


def _value(node: yaml.Node, key: str, file: str) -> Value:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, key, file)
    if isinstance(node, yaml.SequenceNode):
        return Value(data=[_value(child, key, file) for child in node.value], line=line, key=key, file=file)
    try:
        data = yaml.constructor.SafeConstructor().construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        raise FewbitsError(f"{file}, line {line}, '{key}': {' '.join(str(error).split())}") from None
    return Value(data=data, line=line, key=key, file=file)


def _mapping(node: yaml.MappingNode, key: str, file: str) -> Value:
    data: dict[str, Value] = {}
    lines: dict[str, int] = {}
    for name_node, child in node.value:
        line = name_node.start_mark.line + 1
        if not isinstance(name_node, yaml.ScalarNode):
            raise FewbitsError(f"{file}, line {line}: a key is to be a word, not a list or mapping")
        name = name_node.value
        if name in data:
            raise FewbitsError(f"{file}, line {line}, '{name}': is here twice, first in line {lines[name]}")
        data[name], lines[name] = _value(child, name, file), line
    return Value(data=data, line=node.start_mark.line + 1, key=key, file=file, keys=lines)


def _list(choices: Sequence[str]) -> str:
    return ", ".join(choices)
