"""Frozen dataclasses to plain JSON values and back.

`decode` is strict: an undeclared field is an error that names it. `decode_lenient` is for what another release has
stored or sent: an undeclared field is ignored, a missing one has its default.

A shape is a frozen dataclass. Its fields may be bool, int, float, str, a Literal of texts, an Optional, a tuple of any
length, another shape, or one of several: of a Union, or of the tagged classes that inherit from the field's class. The
JSON object then has its class name under the key `shape`.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Callable, Dict, Generic, Mapping, Tuple, Type, TypeVar, Union

from rocks.core.errors import IncoherentError

Shape = TypeVar("Shape")
Reply = TypeVar("Reply", covariant=True)
Reader = Callable[[Any, str], Any]

TAG = "shape"
"""Key of the class name of a Union's member."""

_readers: Dict[Tuple[Any, bool], Reader] = {}
_union_members: Dict[type, str] = {}
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


class Request(Generic[Reply]):
    """Base of every request; the reply to a `FactsRequest(Request[HostFacts])` is a HostFacts."""


def encode(value: Any) -> Any:
    """A shape as dictionaries, lists and plain values for `json.dumps`; members of a Union are tagged."""
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if not dataclasses.is_dataclass(value):
        return value
    fields = {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if type(value) in _union_members:
        fields[TAG] = _union_members[type(value)]
    return fields


def decode(shape: Type[Shape], value: Any, place: str) -> Shape:
    """The shape that a parsed JSON value describes.

    IncoherentError names the field below `place` that is unknown, missing or of another type.
    """
    result: Shape = _reader(shape, False)(value, place)
    return result


def decode_lenient(shape: Type[Shape], value: Any, place: str) -> Shape:
    """As `decode`, from a value of another release of the same version.

    IncoherentError when a field without a default is missing, or a field has another type.
    """
    result: Shape = _reader(shape, True)(value, place)
    return result


def read_shape(shape: Type[Shape], fields: Mapping[str, Any]) -> Shape:
    """The declared fields of a message, among others. IncoherentError names a missing field, or one of another type."""
    values = {}
    for field in dataclasses.fields(shape):  # type: ignore[arg-type] # every shape is a dataclass
        if field.name in fields:
            values[field.name] = fields[field.name]
        elif field.default is not dataclasses.MISSING:
            values[field.name] = encode(field.default)
    return decode(shape, values, "message")


def tagged(cls: Type[Shape]) -> Type[Shape]:
    """Mark a shape as a member of some Union, so that `encode` writes its class name beside its fields."""
    _union_members[cls] = cls.__name__
    return cls


def tagged_as(name: str) -> Callable[[Type[Shape]], Type[Shape]]:
    """The shape under another name, which records of earlier versions have."""

    def mark(cls: Type[Shape]) -> Type[Shape]:
        _union_members[cls] = name
        return cls

    return mark


def _reader(kind: Any, is_lenient: bool) -> Reader:
    reader = _readers.get((kind, is_lenient))
    if reader is None:
        reader = _readers[(kind, is_lenient)] = _create_reader(kind, is_lenient)
    return reader


def _create_reader(kind: Any, is_lenient: bool) -> Reader:
    if kind in _KINDS:
        return _plain_reader(kind)
    heirs = tuple(heir for heir in _union_members if isinstance(kind, type) and issubclass(heir, kind))
    if heirs and kind not in heirs:
        return _union_reader(heirs, is_lenient)
    if dataclasses.is_dataclass(kind):
        return _shape_reader(kind, is_lenient)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return _literal_reader(arguments)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _tuple_reader(arguments[0], is_lenient)
    if origin is Union and type(None) in arguments:
        return _optional_reader(
            Union[tuple(item for item in arguments if item is not type(None))], is_lenient
        )
    if origin is Union:
        return _union_reader(arguments, is_lenient)
    raise TypeError(f"no rule to read a {kind!r} from JSON")


def _mismatch(place: str, expected: str, value: Any) -> IncoherentError:
    return IncoherentError(f"field {place}: expected {expected}, got {_quoted(value)}")


def _quoted(value: Any) -> str:
    """A value that the other side sent, for a message: short, and safe for a terminal."""
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return ascii(value[:80] if isinstance(value, str) else value)[:90]


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


def _tuple_reader(item_kind: Any, is_lenient: bool) -> Reader:
    def read(value: Any, place: str) -> Any:
        if not isinstance(value, list):
            raise _mismatch(place, "a list", value)
        read_item = _reader(item_kind, is_lenient)
        return tuple(read_item(item, f"{place}[{index}]") for index, item in enumerate(value))

    return read


def _optional_reader(kind: Any, is_lenient: bool) -> Reader:
    def read(value: Any, place: str) -> Any:
        return None if value is None else _reader(kind, is_lenient)(value, place)

    return read


def _union_reader(members: Tuple[Any, ...], is_lenient: bool) -> Reader:
    by_name = {_union_members.get(member, member.__name__): member for member in members}

    def read(value: Any, place: str) -> Any:
        if not isinstance(value, dict):
            raise _mismatch(place, "an object", value)
        name = value.get(TAG)
        if not isinstance(name, str) or name not in by_name:
            raise _mismatch(f"{place}.{TAG}", "one of " + ", ".join(sorted(by_name)), name)
        return _reader(by_name[name], is_lenient)(value, place)

    return read


def _shape_reader(cls: Any, is_lenient: bool) -> Reader:
    kinds = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)
    names = {field.name for field in fields}
    required = [field.name for field in fields if not is_lenient or field.default is dataclasses.MISSING]
    known = {*names, TAG} if cls in _union_members else names

    def read(value: Any, place: str) -> Any:
        if not isinstance(value, dict):
            raise _mismatch(place, "an object", value)
        for name in () if is_lenient else value:
            if name not in known:
                raise IncoherentError(f"field {place}.{_quoted(name)[1:-1]}: unknown here")
        for name in required:
            if name not in value:
                raise IncoherentError(f"field {place}.{name}: missing")
        given = [field.name for field in fields if field.name in value]
        return cls(
            **{name: _reader(kinds[name], is_lenient)(value[name], f"{place}.{name}") for name in given}
        )

    return read
