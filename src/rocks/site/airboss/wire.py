"""A request of the owner of a virtual cluster (airboss): one line with the signature, then one JSON document.

The line: `rocks-airboss-1`, the SHA-256 of the public key (DER, SubjectPublicKeyInfo) in hexadecimal, and the signature
in Base64, separated by one blank. Signed is `SIGNED_PREFIX`, followed by the document's bytes. So a receiver
checks the signature before it parses the document.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple, Tuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import IncoherentError
from rocks.fleet.wire.codec import decode
from rocks.fleet.wire.received import parse_json

PATH = "/airboss"
PORT = 8677
HEADING = b"rocks-airboss-1"
SIGNED_PREFIX = HEADING + b" request\n"
LONGEST_LINE = 2048
"""Bytes of the first line: enough for the signature of an RSA key of 8192 bits."""

LONGEST_BODY = 32768
MAX_HOSTS = 256
LONGEST_NAME = 255

LIST_MACS, POWER, CONSOLE, SCREEN = "list macs", "power", "console", "screen"
CLUSTER_POWER = "cluster power"
"""`power` of all machines of the cluster: its computes, and those of `hosts`, which is for the frontend."""

CDROM = "cdrom"
"""Insert an ISO of the site's image library into the drive of a machine, or eject it."""

OPERATIONS = (LIST_MACS, POWER, CLUSTER_POWER, CONSOLE, SCREEN, CDROM)
ACTIONS = ("on", "off", "install")
BOOT_PLACES = ("", "first", "last")
UPGRADE = "rocks-airboss-stream"
"""The protocol that follows an answer 101: the bytes of a console, in both directions."""

_LINE = re.compile(HEADING + rb" ([0-9a-f]{64}) ([A-Za-z0-9+/]+={0,2})")
_NONCE = re.compile(r"[0-9a-f]{32}")
_ABSENT = {"image": "", "boot": ""}
"""Fields that owners' programs send with the operation `cdrom` only."""


class SignedDocument(NamedTuple):
    """What the frame holds: which key signed (`fingerprint`, hexadecimal), the signature, and the document, unread."""

    fingerprint: str
    signature: bytes
    document: bytes

    @property
    def signed_bytes(self) -> bytes:
        """The bytes that the signature is of."""
        return SIGNED_PREFIX + self.document


@dataclass(frozen=True)
class OwnerRequest:
    """One request. `service` is the frontend's name, `cluster` that of the virtual frontend, `time` seconds since 1970.

    `hosts` are names, aliases or MAC addresses of machines of the cluster. `nonce` is 32 hexadecimal digits, never used
    twice. `action` is that of the operations `power` and `cluster power`, else empty. `status`: `list macs` with the
    states. `image` and `boot` are of the operation `cdrom`: no image ejects, no `boot` leaves it as it is.
    """

    service: str
    cluster: str
    time: int
    nonce: str
    operation: str
    hosts: Tuple[str, ...]
    action: str
    status: bool
    image: str = ""
    boot: str = ""


def read_frame(body: bytes) -> SignedDocument:
    """The parts of a request's bytes; the document is not looked at. ValueError for anything else."""
    line, newline, document = body[: LONGEST_LINE + 1].partition(b"\n")
    found = _LINE.fullmatch(line)
    if not newline or found is None:
        raise ValueError("no signed request")
    try:
        signature = base64.b64decode(found.group(2), validate=True)
    except binascii.Error:
        raise ValueError("no signed request") from None
    return SignedDocument(found.group(1).decode("ascii"), signature, document + body[LONGEST_LINE + 1 :])


def read_document(document: bytes) -> OwnerRequest:
    """The request in a document whose signature holds. ValueError for what is none; the text names the field."""
    try:
        found = parse_json(document.decode("utf-8"))
        if isinstance(found, dict):
            found = {**_ABSENT, **found}
        request = decode(OwnerRequest, found, "request")
    except (IncoherentError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None
    if request.operation not in OPERATIONS:
        raise ValueError(f"field request.operation: not one of {', '.join(OPERATIONS)}")
    if not _NONCE.fullmatch(request.nonce):
        raise ValueError("field request.nonce: not 32 hexadecimal digits")
    if len(request.hosts) > MAX_HOSTS:
        raise ValueError(f"field request.hosts: more than {MAX_HOSTS}")
    texts = (*request.hosts, request.cluster, request.service)
    if any(not 0 < len(name) <= LONGEST_NAME for name in texts) or len(request.image) > LONGEST_NAME:
        raise ValueError(f"a name has more than {LONGEST_NAME} characters, or none")
    _check_operation(request)
    return request


def _check_operation(request: OwnerRequest) -> None:
    if request.operation in (POWER, CLUSTER_POWER):
        if request.action not in ACTIONS:
            raise ValueError(f"field request.action: not one of {', '.join(ACTIONS)}")
        if not request.hosts and request.operation == POWER:
            raise ValueError("field request.hosts: none")
    elif request.action:
        raise ValueError("field request.action: only of the operations power and cluster power")
    if request.operation in (CONSOLE, SCREEN, CDROM) and len(request.hosts) != 1:
        raise ValueError("field request.hosts: not exactly one")
    if request.boot not in BOOT_PLACES:
        raise ValueError("field request.boot: not one of first, last")
    if request.operation != CDROM and (request.image or request.boot):
        raise ValueError("fields request.image, request.boot: only of the operation cdrom")
