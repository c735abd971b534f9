"""Patterns for names of layers: a glob, or `re:` and a regular expression for the whole name. Matching takes bounded time.

Python's `re` backtracks: `(a+)+$` takes exponential time on a name that does not match. A regular expression without nested
repeats goes to `re`. Any other is matched by sets of positions, in time polynomial in the length of the name; what that cannot
match (back references, atomic groups) is refused.
"""

import re
import warnings
from collections.abc import Callable, Iterable
from fnmatch import translate
from functools import lru_cache
from importlib import import_module
from typing import Any

from fewbits.errors import FewbitsError

PREFIX = "re:"
MOST = 2_000  # characters of a regular expression
MOST_GLOB = 10_000
STEPS = 500_000  # of matching one name
SIMPLE = 2  # repeats without bound that `re` may have: it takes time of the power of their number plus one
SHORT = 400  # characters of a name that `re` is given
_parser: Any = import_module("re._parser")
_compiler: Any = import_module("re._compiler")
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
_REFUSED = {"GROUPREF": "a back reference", "GROUPREF_EXISTS": "a condition", "ATOMIC_GROUP": "an atomic group"}
_REFUSED |= {"POSSESSIVE_REPEAT": "a possessive repeat"}
_LEAVES = ("LITERAL", "NOT_LITERAL", "ANY", "IN", "RANGE", "CATEGORY")


@lru_cache(maxsize=1 << 16)  # a tuned plan has a rule for each layer
def matcher(pattern: str) -> Callable[[str], bool]:
    """A function that says whether a name matches.

    Raises:
        FewbitsError: The pattern is no regular expression, is too long, or cannot be matched in bounded time.
    """
    if not pattern.startswith(PREFIX):
        if len(pattern) > MOST_GLOB:
            raise FewbitsError(f"the pattern '{pattern:.40}...' has {len(pattern):,} characters, more than {MOST_GLOB:,}")
        if not set("*?[") & set(pattern):
            return pattern.__eq__
        found = re.compile(translate(pattern))  # globs become expressions that do not backtrack
        return lambda name: found.match(name) is not None
    text = pattern[len(PREFIX) :]
    if len(text) > MOST:
        raise FewbitsError(f"'{pattern:.40}...' has {len(text):,} characters, more than {MOST:,}")
    tree, found = _parsed(text)
    if _is_simple(tree):
        bounded = None if _refused(tree) else _Bounded(tree, pattern)
        return lambda name: (
            found.fullmatch(name) is not None if bounded is None or len(name) <= SHORT else bounded.matches(name)
        )
    if (refused := _refused(tree)) is not None:
        raise FewbitsError(f"'{pattern:.80}' has {refused} beside nested or many repeats, which may take for ever: simplify it")
    return _Bounded(tree, pattern).matches


def _parsed(text: str) -> tuple[Any, re.Pattern[str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return _parser.parse(text), re.compile(text)
    except (re.error, OverflowError, ValueError, Warning) as error:
        raise FewbitsError(f"'re:{text:.80}' is no regular expression: {error!s:.200}") from None
    except (RecursionError, MemoryError):
        raise FewbitsError(f"'re:{text:.80}' is nested too deeply") from None


def _children(op: str, value: Any) -> Iterable[Any]:
    """The patterns inside one item of the tree."""
    if op in _REPEATS:
        return (value[2],)
    if op == "BRANCH":
        return value[1]
    if op == "SUBPATTERN":
        return (value[3],)
    if op in ("ASSERT", "ASSERT_NOT"):
        return (value[1],)
    return (value,) if op == "ATOMIC_GROUP" else ()


def _refused(tree: Any) -> str | None:
    for op, value in tree:
        found = _REFUSED.get(str(op)) or next(filter(None, map(_refused, _children(str(op), value))), None)
        if found is not None:
            return found
    return None


def _is_simple(tree: Any) -> bool:
    """Whether no repeat holds a repeat or a choice, and few repeat without bound: then `re` is quick."""
    inside, count = _repeats(tree)
    return not inside and count <= SIMPLE


def _repeats(tree: Any, inside: bool = False) -> tuple[bool, int]:
    """Whether a repeat or choice is inside a repeat, and how many repeats (and references) there are."""
    nested, count = False, 0
    for op, value in tree:
        name = str(op)
        many = name in _REPEATS and value[1] > 1
        nested |= inside and (name in _REPEATS or name == "BRANCH")
        count += many + (name == "GROUPREF") + (name == "BRANCH" and len(value[1]) > 8)
        for child in _children(name, value):
            deeper, more = _repeats(child, inside or many)
            nested, count = nested or deeper, count + more
    return nested, count


class _Bounded:
    """Matches by sets of positions: what an item turns a set of positions into is found once for all of them."""

    def __init__(self, tree: Any, pattern: str) -> None:
        self.tree, self.pattern = tree, pattern
        self.flags = tree.state.flags
        self.leaves: dict[tuple[int, int], re.Pattern[str]] = {}

    def matches(self, name: str) -> bool:
        self.name, self.left = name, STEPS
        try:
            return len(name) in self._ends(self.tree, frozenset((0,)), self.flags)
        except RecursionError:
            raise FewbitsError(f"'{self.pattern:.80}' is nested too deeply") from None

    def _ends(self, tree: Any, at: frozenset[int], flags: int) -> frozenset[int]:
        """All positions where a sequence of items can end that begins at one of some positions."""
        for index in range(len(tree)):
            if not at:
                break
            at = self._item(tree, index, at, flags)
        return at

    def _item(self, tree: Any, index: int, at: frozenset[int], flags: int) -> frozenset[int]:
        op, value = tree[index]
        name = str(op)
        self._count(len(at))
        if name in _REPEATS:
            return self._repeat(value, at, flags)
        if name == "BRANCH":
            return frozenset().union(*(self._ends(each, at, flags) for each in value[1]))
        if name == "SUBPATTERN":
            return self._ends(value[3], at, (flags | value[1]) & ~value[2])
        if name in ("ASSERT", "ASSERT_NOT"):
            return frozenset(p for p in at if self._holds(value, p, flags) == (name == "ASSERT"))
        if name == "FAILURE":
            return frozenset()
        leaf = self._leaf(tree, index, flags)
        if name in _LEAVES:
            return frozenset(p + 1 for p in at if p < len(self.name) and leaf.match(self.name, p, p + 1))
        return frozenset(p for p in at if leaf.match(self.name, p))  # AT: an anchor

    def _repeat(self, value: tuple[int, int, Any], at: frozenset[int], flags: int) -> frozenset[int]:
        least, most, body = int(value[0]), int(value[1]), value[2]
        enough = len(self.name) + 2  # after so many rounds the set no longer changes
        for _ in range(min(least, enough)):
            at = self._ends(body, at, flags)
        found = new = at
        for _ in range(min(most - least, enough)):
            new = self._ends(body, new, flags) - found
            if not new:
                break
            found |= new
        return found

    def _holds(self, value: tuple[int, Any], position: int, flags: int) -> bool:
        direction, body = value
        if direction > 0:
            return bool(self._ends(body, frozenset((position,)), flags))
        start = position - body.getwidth()[0]
        return start >= 0 and position in self._ends(body, frozenset((start,)), flags)

    def _leaf(self, tree: Any, index: int, flags: int) -> re.Pattern[str]:
        """One item as an expression of its own."""
        key = (id(tree[index]), flags)
        if key not in self.leaves:
            state = _parser.State()
            state.flags = flags
            self.leaves[key] = _compiler.compile(_parser.SubPattern(state, [tree[index]]), 0)
        return self.leaves[key]

    def _count(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise FewbitsError(f"'{self.pattern:.80}' takes more than {STEPS:,} steps on '{self.name:.80}': simplify it")
