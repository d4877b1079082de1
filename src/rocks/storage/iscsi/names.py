"""Names of iSCSI targets, portals and backstores, and the secrets of mutual CHAP between a host and the NAS; pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import field
from typing import Optional

from rocks.core.dataclasses import dataclass
from rocks.core.errors import UserError

# rtslib requires a dot in the domain; target and initiator treat capital letters differently
_NAME = re.compile(r"iqn\.[0-9]{4}-[01][0-9]\.[a-z0-9-]+(\.[a-z0-9-]+)+(:[a-z0-9.:-]+)?\Z")
_MAX_CHARACTERS = 223
_BACKSTORE_PREFIX = "rocks-"


def check_iscsi_name(name: str) -> None:
    """UserError unless it is an iSCSI qualified name that LIO and open-iscsi accept unchanged."""
    if len(name) > _MAX_CHARACTERS or not _NAME.match(name):
        raise UserError(
            f"{name[:60]!r} is not a valid iSCSI name: iqn.YYYY-MM.DOMAIN:NAME in lower case, DOMAIN with a dot"
        )


def check_portal(address: str, port: int) -> None:
    """UserError unless it is a single, non-public IPv4 address and a TCP port."""
    try:
        parsed = ipaddress.IPv4Address(address)
    except ValueError:
        raise UserError(f"{address[:60]!r} is not an IPv4 address for an iSCSI portal") from None
    if str(parsed) != address or parsed.is_unspecified or parsed.is_multicast or parsed.is_global:
        raise UserError(
            f"{address} cannot be an iSCSI portal: use the address of this NAS on the storage network, which is never "
            "public"
        )
    if not 1 <= port <= 65535:
        raise UserError(f"{port} is not a TCP port for an iSCSI portal")


def backstore_name(target: str) -> str:
    """Name of the backstore of a target: `rocks-` and the part after the colon (image and epoch)."""
    return _BACKSTORE_PREFIX + target.partition(":")[2]


def is_own_backstore(name: str) -> bool:
    """Whether it is a name of `backstore_name`."""
    return name.startswith(_BACKSTORE_PREFIX)


# --- secrets of mutual CHAP between a host and the NAS ---------------------------------------------------------------


_USER = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_SECRET = re.compile(r"[A-Za-z0-9._~+/=-]{16,128}\Z")


@dataclass(frozen=True)
class ChapSecrets:
    """The host authenticates with `user` and `password`, the NAS with `mutual_user` and `mutual_password`.

    The record's repr contains no secret.
    """

    user: str
    password: str = field(repr=False)
    mutual_user: str
    mutual_password: str = field(repr=False)


def check_chap(chap: Optional[ChapSecrets]) -> None:
    """UserError unless both ends accept them: 16 to 128 characters, two different secrets. No message contains one."""
    if chap is None:
        return
    for user in (chap.user, chap.mutual_user):
        if not _USER.match(user):
            raise UserError(
                f"{user[:40]!r} is not a valid CHAP name: at most 128 letters, digits, '.', '_', ':' and '-'"
            )
    for secret in (chap.password, chap.mutual_password):
        if not _SECRET.match(secret):
            raise UserError(
                f"the CHAP secrets of {chap.user} must have 16 to 128 letters, digits and characters of ._~+/=-"
            )
    if chap.password == chap.mutual_password:
        raise UserError(f"the two CHAP secrets of {chap.user} are the same; each direction needs its own")
