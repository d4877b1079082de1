"""Conditions of edges and tags: a small part of Python's grammar, evaluated here and never by Python.

`and or not`, comparisons, `in` a tuple, names of attributes, numbers and texts. An unset attribute is None. Texts that
mean yes and no are booleans everywhere, also in quotes.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from typing import TYPE_CHECKING, Any

from rocks.core.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rocks.install.graph.records import HostContext, Selection

_LONGEST = 500
# without 1 and 0: a condition compares numbers
_TRUE_VALUES = frozenset(("on", "true", "yes", "y"))
_FALSE_VALUES = frozenset(("off", "false", "no", "n"))
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
_SAME: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {ast.Eq: operator.eq, ast.NotEq: operator.ne}
_LESS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def applies(selections: Iterable[Selection], context: HostContext) -> bool:
    """Whether all the selections hold for a host. StateError for an invalid condition."""
    return all(_holds(selection, context.attributes) for selection in selections)


def holds(condition: str, attributes: Mapping[str, str]) -> bool:
    """Whether the condition holds; an empty one does. StateError when it is not valid."""
    if not condition.strip():
        return True
    tree = read_condition(condition)
    return bool(_value(tree, {name.lower(): text for name, text in attributes.items()}))


def read_condition(condition: str) -> ast.expr:
    """The syntax tree of the condition. StateError for anything outside the grammar above."""
    if len(condition) > _LONGEST:
        raise StateError(f"the condition {condition[:40]!r}… is longer than {_LONGEST} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python, about backslashes in texts
            tree = ast.parse(condition.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise StateError(
            f"the condition {condition!r} cannot be read: names, quoted texts, numbers, == != < <= > >=, and, or, not"
        ) from None
    _check(tree, condition)
    return tree


def _holds(selection: Selection, attributes: Mapping[str, str]) -> bool:
    for name in ("arch", "os", "release"):
        allowed = getattr(selection, name)
        if allowed and attributes.get(name, "") not in allowed:
            return False
    return holds(selection.condition, attributes)


def _check(tree: ast.expr, condition: str) -> None:
    """StateError for anything that `_value` does not support."""
    match tree:
        case ast.BoolOp(values=values):
            parts = values
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            parts = [operand]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float())):
            parts = []
        case ast.Compare(left=left, ops=ops, comparators=right):
            parts = [left]
            for operation, part in zip(ops, right, strict=True):
                if isinstance(operation, ast.In | ast.NotIn):
                    _check_list(part, condition)
                elif type(operation) in _SAME or type(operation) in _LESS:
                    parts.append(part)
                else:
                    raise _unsupported(operation, condition)
        case ast.Name() | ast.Constant(value=str() | int() | float() | None):
            parts = []
        case _:
            raise _unsupported(tree, condition)
    for part in parts:
        _check(part, condition)


def _check_list(part: ast.expr, condition: str) -> None:
    if not isinstance(part, ast.Tuple | ast.List):
        raise _unsupported(part, condition)
    for element in part.elts:
        _check(element, condition)


def _unsupported(part: ast.AST, condition: str) -> StateError:
    kind = type(part).__name__
    hint = "; an attribute with a dash in its name has no condition" if isinstance(part, ast.BinOp) else ""
    return StateError(f"the condition {condition!r} has an unsupported expression ({kind}){hint}")


def _value(tree: ast.expr, attributes: Mapping[str, str]) -> Any:
    """The value of a checked tree."""
    match tree:
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_value(part, attributes) for part in values)
        case ast.BoolOp(values=values):
            return any(_value(part, attributes) for part in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, attributes)
        case ast.UnaryOp(operand=operand):
            return -_value(operand, attributes)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            return _compare(left, ops, comparators, attributes)
        case ast.Name(id=name):
            return _meaning(attributes.get(name.lower()))
        case ast.Constant(value=value):
            return _meaning(value) if isinstance(value, str) else value
    raise AssertionError(ast.dump(tree))


def _compare(
    left: ast.expr, operations: list[ast.cmpop], right: list[ast.expr], attributes: Mapping[str, str]
) -> bool:
    value = _value(left, attributes)
    for operation, part in zip(operations, right, strict=True):
        if isinstance(part, ast.Tuple | ast.List):
            is_in = any(value == _value(element, attributes) for element in part.elts)
            if is_in is isinstance(operation, ast.NotIn):
                return False
            continue
        other = _value(part, attributes)
        if not _relate(operation, value, other):
            return False
        value = other
    return True


def _relate(operation: ast.cmpop, left: Any, right: Any) -> bool:
    if type(operation) in _SAME:
        return _SAME[type(operation)](left, right)
    both = (left, right)
    # an unset value, or one of another type, is neither less nor more
    if not (all(isinstance(v, int | float) for v in both) or all(isinstance(v, str) for v in both)):
        return False
    return _LESS[type(operation)](left, right)


def _meaning(text: str | None) -> Any:
    if text is None:
        return None
    value = text.strip().lower()
    if value in _TRUE_VALUES:
        return True
    if value in _FALSE_VALUES:
        return False
    if _NUMBER.fullmatch(value):
        return float(value) if "." in value else int(value)
    return text
