"""YAML within limits: a plain tree of mappings, lists and scalars, every value with its line.

Of YAML 1.1 only what a study or a plan needs is read. Refused, with file and line: tags, merge keys, duplicate keys, several
documents, aliases that expand without bound or contain themselves, deep nesting, and files that are too large, irregular or not
UTF-8. Python objects are never constructed.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import yaml

from fewbits.data.names import did_you_mean, near
from fewbits.document import Value, place
from fewbits.errors import FewbitsError, printable

MOST_BYTES = 32 << 20  # of a file; the plan of 100,000 experts takes 15 MiB
MOST_NODES = 2_000_000  # with aliases expanded
MOST_DEPTH = 40
MOST_SCALAR = 1 << 20  # characters of one scalar
_TYPED = ("null", "bool", "int", "float", "timestamp")  # a date is checked, and taken as it is written
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # both parse events without recursion
_RESOLVER = yaml.resolver.Resolver()
_CONSTRUCTOR = yaml.constructor.SafeConstructor()


def read(path: Path, *, most: int = MOST_BYTES, nodes: int = MOST_NODES) -> tuple[Value, str]:
    """The document in a file, and its text.

    Args:
        path: A regular file.
        most: Bytes that the file may have.
        nodes: Values that it may hold, with aliases expanded.

    Raises:
        FewbitsError: The file is missing, irregular, too large, not UTF-8, empty or no YAML; with the line where there is one.
    """
    try:
        text = text_of(path, most)
    except FewbitsError as error:
        raise FewbitsError(f"{path}: {error}") from None
    return parse(text, str(path), nodes=nodes), text


def text_of(path: Path, most: int = MOST_BYTES) -> str:
    """The text of a regular file. Raises FewbitsError that says what is wrong, without the path."""
    try:
        return _bytes(path, most).decode("utf-8-sig")
    except FileNotFoundError:
        raise FewbitsError(f"no such file{did_you_mean(_meant(path))}") from None
    except UnicodeDecodeError as error:
        raise FewbitsError(f"is not UTF-8 at byte {error.start:,}") from None
    except OSError as error:
        raise FewbitsError(f"cannot be read: {error.strerror or error}") from None
    except FewbitsError:
        raise
    except ValueError as error:  # a NUL in the name
        raise FewbitsError(f"cannot be read: {error}") from None


def parse(text: str, file: str, *, nodes: int = MOST_NODES) -> Value:
    """The document that a text holds; `file` names it in messages. Raises FewbitsError as `read` does."""
    try:
        return _Builder(file, nodes).document(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = place(file, min(mark.line + 1, text.count("\n") + 1)) if mark else file
        raise FewbitsError(f"{where}: is no YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        before = text.encode(errors="replace")[: error.position] if isinstance(error.position, int) else b""
        raise FewbitsError(f"{place(file, before.count(10) + 1)}: is no YAML: a character that YAML does not allow") from None
    except (yaml.YAMLError, UnicodeEncodeError, RecursionError) as error:
        raise FewbitsError(f"{file or 'the text'}: is no YAML: {printable(str(error), 200)}") from None


def _bytes(path: Path, most: int) -> bytes:
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a FIFO would block
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise FewbitsError("is not a regular file")
        data = file.read(most + 1)
    if len(data) > most:
        raise FewbitsError(f"is larger than {most >> 20} MiB")
    return data


def _meant(path: Path) -> list[str]:
    try:
        return [str(p) for p in sorted(path.parent.glob("*.y*ml")) if near(path.name, [p.name])]
    except OSError:
        return []


class _Builder:
    """Makes the tree of one document from its events, without recursion."""

    def __init__(self, file: str, most: int) -> None:
        self.file, self.most = file, most
        self.anchors: dict[str, tuple[Value, int]] = {}
        self.open: list[_Open] = []
        self.top: Value | None = None
        self.nodes = 0

    def document(self, events: Iterator[Any]) -> Value:
        """The value that the events of one document make."""
        for event in events:
            match event:
                case yaml.DocumentStartEvent() if self.top is not None:
                    self.fail(event, "a second document begins here: one document per file")
                case yaml.ScalarEvent():
                    self.put(self.scalar(event), event, 1)
                case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                    self.begin(event)
                case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                    self.end()
                case yaml.AliasEvent():
                    self.alias(event)
        if self.top is None or (self.top.data is None and not self.top.raw):
            raise FewbitsError(f"{self.file}: is empty" if self.file else "is empty")
        return self.top

    def fail(self, event: Any, problem: str) -> NoReturn:
        raise FewbitsError(f"{place(self.file, event.start_mark.line + 1)}: {problem}") from None

    def begin(self, event: Any) -> None:
        if event.tag is not None:
            self.fail(event, f"the tag {printable(str(event.tag), 60)} is not allowed")
        if self.open and self.open[-1].wants_key:
            self.fail(event, "a key is to be a word, not a list or mapping")
        if len(self.open) >= MOST_DEPTH:
            self.fail(event, f"is nested more than {MOST_DEPTH} levels deep")
        self.open.append(_Open(event, mapping=isinstance(event, yaml.MappingStartEvent), key=self.key))

    def end(self) -> None:
        done = self.open.pop()
        self.put(done.value(self.file), done.event, done.nodes)

    def alias(self, event: Any) -> None:
        if self.open and self.open[-1].wants_key:
            self.fail(event, "a key is to be a word, not an alias")
        if event.anchor not in self.anchors:
            self.fail(event, f"the alias *{printable(event.anchor, 60)} has no anchor that ends before it")
        value, count = self.anchors[event.anchor]
        self.add(value, event, count)

    def put(self, value: Value, event: Any, count: int) -> None:
        if event.anchor is not None:
            if event.anchor in self.anchors:
                self.fail(event, f"the anchor &{printable(event.anchor, 60)} is here twice")
            self.anchors[event.anchor] = (value, count)
        self.add(value, event, count)

    def add(self, value: Value, event: Any, count: int) -> None:
        """Give a value to the mapping or list that is open."""
        if not self.open:
            self.top = value
            return
        holder = self.open[-1]
        holder.nodes += count
        if holder.nodes > self.most:
            self.fail(event, f"holds more than {self.most:,} values")
        if not holder.wants_key:
            holder.add(value)
            return
        name = value.raw
        if not name:
            self.fail(event, "a key is empty")
        if event.implicit[0] and name == "<<":
            self.fail(event, "merge keys (<<) are not read: write the keys out")
        if name in holder.lines:
            raise FewbitsError(f"{place(self.file, value.line)}, '{name}': is here twice, first in line {holder.lines[name]}")
        holder.name, holder.lines[name] = name, value.line

    @property
    def key(self) -> str:
        """The key of the next value."""
        return "" if not self.open else self.open[-1].name if self.open[-1].mapping else self.open[-1].key

    def scalar(self, event: Any) -> Value:
        line, text, key = event.start_mark.line + 1, event.value, self.key
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            self.fail(event, f"the tag {printable(event.tag, 60)} is not allowed")
        if len(text) > MOST_SCALAR:
            self.fail(event, f"a text of {len(text):,} characters is too long")
        data = text if event.tag is not None else self.typed(event, key)
        return Value(data=data, raw=text, line=line, key=key, file=self.file)

    def typed(self, event: Any, key: str) -> Any:
        """What a plain scalar means; whatever is not null, a truth value or a plain number is text."""
        tag = _RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit).rpartition(":")[2]
        if tag not in _TYPED or (self.open and self.open[-1].wants_key):
            return event.value
        try:
            found = _CONSTRUCTOR.construct_object(yaml.ScalarNode(f"tag:yaml.org,2002:{tag}", event.value))
            return event.value if tag == "timestamp" else found
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            where = f"{place(self.file, event.start_mark.line + 1)}{f', {key!r}' if key else ''}"
            raise FewbitsError(f"{where}: {printable(str(error), 200)}") from None


class _Open:
    """A mapping or list whose end has not come yet."""

    def __init__(self, event: Any, *, mapping: bool, key: str) -> None:
        self.event, self.mapping, self.key = event, mapping, key
        self.values: list[Value] = []
        self.data: dict[str, Value] = {}
        self.lines: dict[str, int] = {}
        self.name = ""
        self.nodes = 1

    @property
    def wants_key(self) -> bool:
        return self.mapping and len(self.lines) == len(self.data)

    def add(self, value: Value) -> None:
        if self.mapping:
            self.data[self.name] = value if value.key == self.name else value.under(self.name)
        else:
            self.values.append(value)

    def value(self, file: str) -> Value:
        data = self.data if self.mapping else self.values
        line = self.event.start_mark.line + 1
        return Value(data=data, line=line, key=self.key, file=file, keys=self.lines if self.mapping else {})
