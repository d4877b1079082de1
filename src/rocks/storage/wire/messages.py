"""Messages of image storage, as JSON objects and back.

`v`, `op_id`, `image_id`, `epoch` and `deadline` (UNIX ms) are beside an action's own fields. An unknown field is
ignored unless the message has a higher version, so that two releases can communicate.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Mapping, NamedTuple, Optional

from rocks.core.errors import Code, IncoherentError, RocksError, code_of, received_error
from rocks.fleet.wire.codec import encode, read_shape
from rocks.storage.wire.requests import ACTIONS, MapZvol, Role, SetAttrs, SetZvolAttrs, action_of

VERSION = 1
_LONGEST_NAME = 255
UNSUPPORTED = Code.ACTION_UNSUPPORTED.value
"""The error text of an unknown action. Its answer has never had an action, and existing tools expect that."""

HOST_REQUEST = "perform"
HOST_ANSWER = "performed"
HOST_NEWS = "host_news"
"""Between the daemons: a request of a NAS to a host, the host's answer, and a report of the host without a request."""

_ATTRIBUTES = ("frequency", "nextsync", "downloadspeed", "uploadspeed", "persistent")


class Message(NamedTuple):
    """A received message: its envelope, and the other fields unread."""

    action: str
    op_id: str
    image_id: str
    epoch: int
    deadline_milliseconds: Optional[int]
    fields: Mapping[str, Any]


class NewerVersionError(IncoherentError):
    """A message of a higher version: `message` has its envelope, which is the same in all versions."""

    def __init__(self, message: Message, version: object) -> None:
        super().__init__(
            f"the message has version {version!r}, and this side has {VERSION}; upgrade this side"
        )
        self.message = message


def read_message(body: bytes) -> Message:
    """The message in a body. IncoherentError when it is invalid, NewerVersionError when it has a higher version."""
    try:
        value = json.loads(body.decode("utf-8"))
    except ValueError:
        raise IncoherentError("the message is no JSON") from None
    if not isinstance(value, dict):
        raise IncoherentError("the message is no JSON object")
    version = value.get("v", VERSION)
    message = _envelope(value)
    if not isinstance(version, int) or version > VERSION:
        raise NewerVersionError(message, version)
    return message


def _envelope(value: Dict[str, Any]) -> Message:
    return Message(
        _name(value, "action"),
        _name(value, "op_id"),
        _name(value, "image_id"),
        _field(value, "epoch", int, 0),
        _field(value, "deadline", int, None),
        value,
    )


def write_message(action: str, fields: Mapping[str, Any], **envelope: Any) -> bytes:
    """A message: its fields, and those of `op_id`, `image_id`, `epoch`, `deadline` that are not None."""
    known = {name: value for name, value in envelope.items() if value is not None}
    return json.dumps({"v": VERSION, "action": action, **known, **fields}, separators=(",", ":")).encode()


def read_request(message: Message, role: Role) -> Any:
    """A command's request to this role. IncoherentError for an unknown action, or a missing or mistyped field."""
    action = ACTIONS.get(message.action)
    if action is None or action.role != role:
        raise IncoherentError(UNSUPPORTED, code=Code.ACTION_UNSUPPORTED)
    fields = dict(message.fields)
    if action.shape is MapZvol:
        fields.setdefault("remotepool", None)
        fields.setdefault("initiator", "")  # refused in the words that programs know
        if isinstance(fields.get("size"), str) and fields["size"].strip().isdigit():
            fields["size"] = int(fields["size"])
    elif action.shape is SetZvolAttrs:
        fields["changes"] = [[name, _text(fields[name])] for name in _ATTRIBUTES if name in fields]
        if "zvol" not in fields:
            raise IncoherentError("field message.zvol: missing")
        return SetZvolAttrs(
            str(_field(fields, "zvol", str, "")),
            tuple((name, value) for name, value in fields["changes"]),
            _field(fields, "machine", str, ""),
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
        fields = {"zvol": request.zvol, "machine": request.machine, **dict(request.changes)}
    elif isinstance(request, SetAttrs):
        fields = {"attrs": dict(request.attrs)}
    return write_message(action_of(request).name, fields, **envelope)


def write_success(action: str, fields: Mapping[str, Any], **envelope: Any) -> bytes:
    """The answer to a request of that action."""
    return write_message(ACTIONS[action].reply, {"status": "success", **fields}, **envelope)


def write_error(action: str, error: RocksError, **envelope: Any) -> bytes:
    """The answer that a request failed. The answer to an unknown action has no action."""
    fields = error_fields(error)
    if action in ACTIONS and error.code is not Code.ACTION_UNSUPPORTED:
        return write_message(ACTIONS[action].reply, fields, **envelope)
    return json.dumps({"v": VERSION, **fields, "error": UNSUPPORTED, **envelope}).encode()


def error_fields(error: RocksError) -> Dict[str, str]:
    """The fields of an answer that reports an error; `code` is empty without one, and absent in the first release."""
    return {"status": "error", "error": str(error), "family": error.family, "code": code_of(error)}


def success_of(message: Message) -> Mapping[str, Any]:
    """The fields of an answer. Raises the reported error, with its family and code."""
    fields = message.fields
    if fields.get("status") == "success":
        return fields
    text = fields.get("error")
    raise received_error(fields.get("family"), str(text) if text else "Error occured", fields.get("code"))


def _name(value: Mapping[str, Any], name: str) -> str:
    """A short text, which records and answers repeat; '' when it is absent."""
    text: str = _field(value, name, str, "")
    if len(text) > _LONGEST_NAME:
        raise IncoherentError(f"field message.{name}: longer than {_LONGEST_NAME} characters")
    return text


def _field(value: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    found = value.get(name, default)
    if found is None or type(found) is kind:
        return default if found is None else found
    raise IncoherentError(f"field message.{name}: expected {'text' if kind is str else 'a whole number'}")


def _text(value: Any) -> Optional[str]:
    return None if value is None else str(value)
