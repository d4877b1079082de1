"""Messages of image storage, as JSON objects and back.

`v`, `op_id`, `image_id`, `epoch` and `deadline` (UNIX ms) stand beside an action's own fields. An unknown field
is passed over unless the message is of a higher version, so that two releases can talk to each other.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Mapping, NamedTuple, Optional, Type, TypeVar

from rocks.errors import CLASSES, IncoherentError, RocksError
from rocks.wire.codec import decode, encode
from rocks.wire.imgstorage import ACTIONS, MapZvol, Role, SetAttrs, SetZvolAttrs

VERSION = 1
UNSUPPORTED = "action_unsupported"
"""The error of an action that nobody knows; it has always been answered without an action."""

Shape = TypeVar("Shape")

HOST_REQUEST = "perform"
HOST_ANSWER = "performed"
HOST_NEWS = "host_news"
"""Between the daemons: a NAS asks a host, the host answers, the host tells of itself what nobody asked."""

_NAME_OF = {action.shape: action.name for action in ACTIONS.values()}
_ATTRIBUTES = ("frequency", "nextsync", "downloadspeed", "uploadspeed", "persistent")


class Message(NamedTuple):
    """A message as it came: its envelope, and the other fields unread."""

    action: str
    op_id: str
    image_id: str
    epoch: int
    deadline_milliseconds: Optional[int]
    fields: Mapping[str, Any]


def read_message(body: bytes) -> Message:
    """The message in a body. IncoherentError when it is none, or of a higher version."""
    try:
        value = json.loads(body.decode("utf-8"))
    except ValueError:
        raise IncoherentError("the message is no JSON") from None
    if not isinstance(value, dict):
        raise IncoherentError("the message is no JSON object")
    version = value.get("v", VERSION)
    if not isinstance(version, int) or version > VERSION:
        raise IncoherentError(
            f"the message is of version {version!r}, and this side knows {VERSION}; upgrade this side"
        )
    return Message(
        _field(value, "action", str, ""),
        _field(value, "op_id", str, ""),
        _field(value, "image_id", str, ""),
        _field(value, "epoch", int, 0),
        _field(value, "deadline", int, None),
        value,
    )


def write_message(action: str, fields: Mapping[str, Any], **envelope: Any) -> bytes:
    """A message: its fields, and what is known of `op_id`, `image_id`, `epoch`, `deadline`."""
    said = {name: value for name, value in envelope.items() if value is not None}
    return json.dumps({"v": VERSION, "action": action, **said, **fields}, separators=(",", ":")).encode()


def read_shape(shape: Type[Shape], fields: Mapping[str, Any]) -> Shape:
    """The declared fields of a message. IncoherentError names the one that is missing or of another type."""
    values = {}
    for field in dataclasses.fields(shape):  # type: ignore[arg-type] # every shape is a dataclass
        if field.name in fields:
            values[field.name] = fields[field.name]
        elif field.default is not dataclasses.MISSING:
            values[field.name] = encode(field.default)
    return decode(shape, values, "message")


def read_request(message: Message, role: Role) -> Any:
    """What a command asks of this role. IncoherentError when it is unknown here, or a field is missing or mistyped."""
    action = ACTIONS.get(message.action)
    if action is None or action.role != role:
        raise IncoherentError(UNSUPPORTED)
    fields = dict(message.fields)
    if action.shape is MapZvol:
        fields.setdefault("remotepool", None)
        if isinstance(fields.get("size"), str) and fields["size"].strip().isdigit():
            fields["size"] = int(fields["size"])
    elif action.shape is SetZvolAttrs:
        fields["changes"] = [[name, _text(fields[name])] for name in _ATTRIBUTES if name in fields]
        return SetZvolAttrs(
            _required_text(fields, "zvol"), tuple((name, value) for name, value in fields["changes"])
        )
    elif action.shape is SetAttrs:
        attrs = fields.get("attrs")
        if not isinstance(attrs, dict):
            raise IncoherentError("field message.attrs: expected an object")
        return SetAttrs(tuple((str(name), _text(value)) for name, value in attrs.items()))
    return read_shape(action.shape, fields)


def write_request(request: Any, **envelope: Any) -> bytes:
    """A command's request as a message."""
    fields = encode(request)
    if isinstance(request, SetZvolAttrs):
        fields = {"zvol": request.zvol, **dict(request.changes)}
    elif isinstance(request, SetAttrs):
        fields = {"attrs": dict(request.attrs)}
    return write_message(_NAME_OF[type(request)], fields, **envelope)


def write_success(action: str, fields: Mapping[str, Any], **envelope: Any) -> bytes:
    """The answer to a request of that action."""
    return write_message(ACTIONS[action].reply, {"status": "success", **fields}, **envelope)


def write_error(action: str, error: RocksError, **envelope: Any) -> bytes:
    """The answer that it failed. An action that nobody knows is answered without one."""
    fields = {"status": "error", "error": str(error), "family": error.family}
    if action in ACTIONS and str(error) != UNSUPPORTED:
        return write_message(ACTIONS[action].reply, fields, **envelope)
    return json.dumps({"v": VERSION, **fields, "error": UNSUPPORTED, **envelope}).encode()


def success_of(message: Message) -> Mapping[str, Any]:
    """The fields of an answer. Raises the error that it carries, in its family."""
    if message.fields.get("status") == "success":
        return message.fields
    words = message.fields.get("error")
    raise CLASSES.get(str(message.fields.get("family")), CLASSES["tool"])(
        str(words) if words else "Error occured"
    )


def _field(value: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    found = value.get(name, default)
    if found is None or type(found) is kind:
        return default if found is None else found
    raise IncoherentError(f"field message.{name}: expected {'text' if kind is str else 'a whole number'}")


def _required_text(fields: Mapping[str, Any], name: str) -> str:
    if name not in fields:
        raise IncoherentError(f"field message.{name}: missing")
    return str(_field(fields, name, str, ""))


def _text(value: Any) -> Optional[str]:
    return None if value is None else str(value)
