"""The lines of JSON that both ends of a transfer send before and between the streams."""

from __future__ import annotations

import json
from typing import Any, BinaryIO, Callable, Dict, Mapping, NamedTuple, Optional

from rocks.core.clock import monotonic_seconds
from rocks.core.errors import CLASSES, HostError, IncoherentError, RocksError
from rocks.fleet.wire.received import parse_json
from rocks.storage import limits

VERSION = 2
"""Of the lines and of the frames; both ends have the same. Frames of version 1 had checksums."""
_LONGEST_LINE_BYTES = 1024 * 1024


class Opening(NamedTuple):
    """The request of a host: the image, its grant, and the direction. `to_guid` is the snapshot to be transferred."""

    purpose: str
    image_id: str
    epoch: int
    to_guid: str


def write_opening(opening: Opening) -> bytes:
    """The first line of a connection, without its end."""
    return json.dumps({"v": VERSION, **opening._asdict()}).encode()


def read_opening(line: bytes) -> Opening:
    """The request in the first line. IncoherentError when it is invalid, or of another version."""
    fields = _parse(line)
    if fields.get("v") != VERSION:
        raise IncoherentError(
            f"the transfer is of version {fields.get('v')!r}, and this node has version {VERSION}: install the same "
            "release on both nodes"
        )
    try:
        return Opening(
            str(fields["purpose"]), str(fields["image_id"]), int(fields["epoch"]), str(fields["to_guid"])
        )
    except (KeyError, ValueError, TypeError):
        raise IncoherentError("the first line of the transfer is invalid") from None


def send_line(writer: BinaryIO, fields: Mapping[str, Any]) -> None:
    """Send a line."""
    writer.write(json.dumps(fields, separators=(",", ":")).encode() + b"\n")
    writer.flush()


def alive_reporter(writer: BinaryIO) -> Callable[[int], None]:
    """A function for each part that is read: it says now and then to the other end that this one still reads."""
    last = monotonic_seconds()

    def report(part_bytes: int) -> None:
        nonlocal last
        if monotonic_seconds() - last > limits.ALIVE_SECONDS:
            last = monotonic_seconds()
            send_line(writer, {"reading": part_bytes})

    return report


def send_error(writer: BinaryIO, error: RocksError) -> None:
    """Send an error in the place of a line."""
    send_line(writer, {"error": str(error), "family": error.family})


def receive_line(reader: BinaryIO) -> Dict[str, Any]:
    """The next line. Raises the error that the other end sent instead; HostError when the connection ends."""
    fields = _read_fields(reader, b"")
    error = _stated_error(fields)
    if error is not None:
        raise error
    return fields


def error_of_line(begin: bytes, reader: BinaryIO) -> Optional[RocksError]:
    """The error in a line whose first bytes, `begin`, were read already; None when it is no such line."""
    try:
        return _stated_error(_read_fields(reader, begin))
    except (IncoherentError, HostError):
        return None


def _stated_error(fields: Mapping[str, Any]) -> Optional[RocksError]:
    if "error" not in fields:
        return None
    return CLASSES.get(str(fields.get("family")), IncoherentError)(str(fields["error"]))


def _read_fields(reader: BinaryIO, begin: bytes) -> Dict[str, Any]:
    line = begin + reader.readline(_LONGEST_LINE_BYTES - len(begin))
    if not line.endswith(b"\n"):
        raise HostError("the far end closed the transfer before its end")
    return _parse(line)


def number(fields: Mapping[str, Any], name: str) -> int:
    """A field with a size. IncoherentError when it has none."""
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise IncoherentError(f"a line of the transfer has no valid {name}")
    return value


def _parse(line: bytes) -> Dict[str, Any]:
    try:
        fields = parse_json(line.decode("utf-8"))
    except ValueError:  # also what JSON allows and no side of ours sends, such as very deep nesting
        raise IncoherentError("a line of the transfer is no JSON") from None
    if not isinstance(fields, dict):
        raise IncoherentError("a line of the transfer is no JSON object")
    return fields
