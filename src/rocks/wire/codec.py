"""Frozen dataclasses to plain JSON values and back, strictly: an undeclared field is an error that names it.

A shape is a frozen dataclass. Its fields may be bool, int, float, str, a Literal of texts, an Optional, a tuple of any
length, another shape, or a Union of shapes; the JSON object of a Union's member has its class name under the key
`shape`.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Callable, Dict, Tuple, Type, TypeVar, Union

from rocks.errors import IncoherentError

Shape = TypeVar("Shape")
Reader = Callable[[Any, str], Any]

TAG = "shape"
"""Key of the class name of a Union's member."""

_readers: Dict[Any, Reader] = {}
_union_members: Dict[type, bool] = {}
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def encode(value: Any) -> Any:
    """A shape as dictionaries, lists and plain values for `json.dumps`; members of a Union are tagged."""
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if not dataclasses.is_dataclass(value):
        return value
    fields = {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if _is_tagged(type(value)):
        fields[TAG] = type(value).__name__
    return fields


def decode(shape: Type[Shape], value: Any, place: str) -> Shape:
    """The shape that a parsed JSON value describes.

    IncoherentError names the field below `place` that is unknown, missing or of another type.
    """
    result: Shape = _reader(shape)(value, place)
    return result


def tagged(cls: Type[Shape]) -> Type[Shape]:
    """Mark a shape as a member of some Union, so that `encode` writes its class name beside its fields."""
    _union_members[cls] = True
    return cls


def _is_tagged(cls: type) -> bool:
    return _union_members.get(cls, False)


def _reader(kind: Any) -> Reader:
    reader = _readers.get(kind)
    if reader is None:
        reader = _readers[kind] = _make_reader(kind)
    return reader


def _make_reader(kind: Any) -> Reader:
    if kind in _KINDS:
        return _plain_reader(kind)
    if dataclasses.is_dataclass(kind):
        return _shape_reader(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return _literal_reader(arguments)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _tuple_reader(arguments[0])
    if origin is Union and type(None) in arguments:
        return _optional_reader(Union[tuple(item for item in arguments if item is not type(None))])
    if origin is Union:
        return _union_reader(arguments)
    raise TypeError(f"no rule to read a {kind!r} from JSON")


def _mismatch(place: str, expected: str, value: Any) -> IncoherentError:
    return IncoherentError(f"field {place}: expected {expected}, got {repr(value)[:80]}")


def _plain_reader(kind: Any) -> Reader:
    # in Python true and false are whole numbers too, and JSON writes 1.0 as 1
    allowed: Tuple[type, ...] = (int, float) if kind is float else (kind,)

    def read(value: Any, place: str) -> Any:
        if type(value) not in allowed:
            raise _mismatch(place, _KINDS[kind], value)
        return float(value) if kind is float else value

    return read


def _literal_reader(values: Tuple[Any, ...]) -> Reader:
    def read(value: Any, place: str) -> Any:
        if not isinstance(value, str) or value not in values:
            raise _mismatch(place, "one of " + ", ".join(values), value)
        return value

    return read


def _tuple_reader(item_kind: Any) -> Reader:
    def read(value: Any, place: str) -> Any:
        if not isinstance(value, list):
            raise _mismatch(place, "a list", value)
        read_item = _reader(item_kind)
        return tuple(read_item(item, f"{place}[{index}]") for index, item in enumerate(value))

    return read


def _optional_reader(kind: Any) -> Reader:
    def read(value: Any, place: str) -> Any:
        return None if value is None else _reader(kind)(value, place)

    return read


def _union_reader(members: Tuple[Any, ...]) -> Reader:
    by_name = {member.__name__: member for member in members}

    def read(value: Any, place: str) -> Any:
        if not isinstance(value, dict):
            raise _mismatch(place, "an object", value)
        name = value.get(TAG)
        if not isinstance(name, str) or name not in by_name:
            raise _mismatch(f"{place}.{TAG}", "one of " + ", ".join(sorted(by_name)), name)
        return _reader(by_name[name])(value, place)

    return read


def _shape_reader(cls: Any) -> Reader:
    kinds = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    known = {*names, TAG} if _is_tagged(cls) else set(names)

    def read(value: Any, place: str) -> Any:
        if not isinstance(value, dict):
            raise _mismatch(place, "an object", value)
        for name in value:
            if name not in known:
                raise IncoherentError(f"field {place}.{name}: unknown here")
        for name in names:
            if name not in value:
                raise IncoherentError(f"field {place}.{name}: missing")
        return cls(**{name: _reader(kinds[name])(value[name], f"{place}.{name}") for name in names})

    return read
