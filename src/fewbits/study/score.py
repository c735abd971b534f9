"""Scores: arithmetic over measures, such as `37 - size_MiB - 10*max(0, 90 - accuracy)` or `ppl <= 14 and decode_speed_x >= 1.3`.

Numbers, names of measures, + - * /, parentheses, max, min, abs, comparisons, `and`, `or`, `not`; nothing else, and nothing of
it is ever handed to Python to run.
"""

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

from fewbits.errors import FewbitsError
from fewbits.study.quantity import Quantity

Lookup = Callable[[Quantity], int | float | None]
_MOST = 500  # characters
_BINARY: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARE: dict[type, Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
}
_UNARY: dict[type, Callable[[float], float]] = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_}
_FUNCTIONS: dict[str, Any] = {"max": max, "min": min, "abs": abs}
_OFFERED = "numbers, measures, + - * / ( ), max, min, abs, comparisons, and, or, not"


class _MissingError(Exception):
    """A measure that the expression needs was not taken."""


@dataclass(frozen=True)
class Expression:
    """A score that is known to be well formed."""

    text: str

    def __post_init__(self) -> None:
        if len(self.text) > _MOST:
            raise FewbitsError(f"the score is longer than {_MOST} characters")
        tree = self._tree
        try:
            _check(tree, self.text)
        except RecursionError:
            raise FewbitsError(f"'{self.text}' is nested too deeply") from None

    @cached_property
    def _tree(self) -> ast.expr:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # such as for 1if, which is no number
                return ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError, Warning) as error:
            reason = getattr(error, "msg", None) or "too deep"
            raise FewbitsError(f"'{self.text}' cannot be read ({reason}): {_OFFERED}") from None

    @cached_property
    def quantities(self) -> Mapping[str, Quantity]:
        """The measures in it, by the name used."""
        used = [node.func for node in ast.walk(self._tree) if isinstance(node, ast.Call)]
        names = [n.id for n in ast.walk(self._tree) if isinstance(n, ast.Name) and n not in used]
        return {name: Quantity.parse(name) for name in names}

    def of(self, lookup: Lookup) -> int | float | bool | None:
        """The value; None if a measure is missing, something is divided by zero, or the value is not finite."""
        try:
            found = _value(self._tree, lambda name: lookup(self.quantities[name]))
            return found if isfinite(found) else None
        except (_MissingError, ZeroDivisionError, OverflowError):
            return None


def _check(node: ast.expr, text: str) -> None:
    """Raise FewbitsError for anything but what is offered."""
    match node:
        case ast.Constant(value=value) if isinstance(value, int | float) and not isinstance(value, bool):
            _check_finite(value, text)
        case ast.Name(id=name):
            Quantity.parse(name)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            _check(left, text)
            _check(right, text)
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            _check(operand, text)
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARE for op in ops):
            for each in (left, *others):
                _check(each, text)
        case ast.BoolOp(values=values):
            for each in values:
                _check(each, text)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS and args:
            if (name != "abs" and len(args) < 2) or (name == "abs" and len(args) != 1):
                raise FewbitsError(f"'{ast.unparse(node)}': abs takes one value, max and min two or more")
            for each in args:
                _check(each, text)
        case _:
            raise FewbitsError(f"'{ast.unparse(node)}' in '{text}' is not offered: {_OFFERED}")


def _check_finite(value: int | float, text: str) -> None:
    try:
        finite = isfinite(value)
    except OverflowError:  # a whole number beyond the largest float
        finite = False
    if not finite:
        raise FewbitsError(f"a number in '{text}' is not finite")


def _value(node: ast.AST, lookup: Callable[[str], int | float | None]) -> int | float | bool:
    match node:
        case ast.Constant(value=value):
            return value  # type: ignore[return-value]  # a number, as was checked
        case ast.Name(id=name):
            if (found := lookup(name)) is None:
                raise _MissingError(name)
            return found
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_value(left, lookup), _value(right, lookup))
        case ast.UnaryOp(op=op, operand=operand):
            return _UNARY[type(op)](_value(operand, lookup))
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(each, lookup) for each in (left, *others)]
            return all(_COMPARE[type(op)](a, b) for op, a, b in zip(ops, values, values[1:], strict=False))
        case ast.BoolOp(op=op, values=parts):
            found = [bool(_value(each, lookup)) for each in parts]
            return all(found) if isinstance(op, ast.And) else any(found)
        case ast.Call(func=ast.Name(id=name), args=args):
            return _FUNCTIONS[name](*(_value(each, lookup) for each in args))
    raise TypeError(f"unchecked {type(node).__name__}")
