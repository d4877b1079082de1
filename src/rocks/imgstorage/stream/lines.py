"""What both ends of a transfer say before and between the streams: lines of JSON."""

from __future__ import annotations

import json
from typing import Any, BinaryIO, Dict, Mapping, NamedTuple

from rocks.errors import CLASSES, HostError, IncoherentError, RocksError

VERSION = 1
_LONGEST_LINE_BYTES = 1024 * 1024


class Opening(NamedTuple):
    """What a host wants: the image, its grant, and which way. `to_guid` is the snapshot that is to arrive."""

    purpose: str
    image_id: str
    epoch: int
    to_guid: str


def write_opening(opening: Opening) -> bytes:
    """The first line of a connection, without its end."""
    return json.dumps({"v": VERSION, **opening._asdict()}).encode()


def read_opening(line: bytes) -> Opening:
    """What the first line says. IncoherentError when it is none of ours."""
    said = _parse(line)
    try:
        opening = Opening(
            str(said["purpose"]), str(said["image_id"]), int(said["epoch"]), str(said["to_guid"])
        )
    except (KeyError, ValueError, TypeError):
        raise IncoherentError("the transfer began with a line that is none of ours") from None
    if said.get("v") != VERSION:
        raise IncoherentError(f"the transfer is of version {said.get('v')!r}, and this side knows {VERSION}")
    return opening


def send_line(writer: BinaryIO, fields: Mapping[str, Any]) -> None:
    """Send a line."""
    writer.write(json.dumps(fields, separators=(",", ":")).encode() + b"\n")
    writer.flush()


def send_error(writer: BinaryIO, error: RocksError) -> None:
    """Send an error in the place of a line."""
    send_line(writer, {"error": str(error), "family": error.family})


def receive_line(reader: BinaryIO) -> Dict[str, Any]:
    """The next line. Raises the error that the other end sent instead; HostError when it is gone."""
    line = reader.readline(_LONGEST_LINE_BYTES)
    if not line.endswith(b"\n"):
        raise HostError("the far end closed the transfer before its end")
    said = _parse(line)
    if "error" in said:
        raise CLASSES.get(str(said.get("family")), IncoherentError)(str(said["error"]))
    return said


def _parse(line: bytes) -> Dict[str, Any]:
    try:
        said = json.loads(line.decode("utf-8"))
    except ValueError:
        raise IncoherentError("a line of the transfer is no JSON") from None
    if not isinstance(said, dict):
        raise IncoherentError("a line of the transfer is no JSON object")
    return said
