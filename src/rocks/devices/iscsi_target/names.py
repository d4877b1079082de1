"""Which iSCSI names, addresses and backstores can be; pure."""

from __future__ import annotations

import ipaddress
import re

from rocks.errors import UserError

# rtslib asks for two dots after the date, and neither side of a session agrees on capital letters
_NAME = re.compile(r"iqn\.[0-9]{4}-[01][0-9]\.[a-z0-9-]+(\.[a-z0-9-]+)+(:[a-z0-9.:-]+)?\Z")
_MAX_CHARACTERS = 223
_BACKSTORE_PREFIX = "rocks-"


def check_iscsi_name(name: str) -> None:
    """UserError unless it is an iSCSI qualified name that both LIO and open-iscsi take as it is written."""
    if len(name) > _MAX_CHARACTERS or not _NAME.match(name):
        raise UserError(
            f"{name[:60]!r} is no iSCSI name as needed here: iqn.YYYY-MM.DOMAIN:NAME in lower case, DOMAIN with a dot"
        )


def check_portal(address: str, port: int) -> None:
    """UserError unless it is one address of a network of the site's own: not all addresses, not the internet's."""
    try:
        parsed = ipaddress.IPv4Address(address)
    except ValueError:
        raise UserError(f"{address[:60]!r} is no IPv4 address for an iSCSI portal") from None
    if str(parsed) != address or parsed.is_unspecified or parsed.is_multicast or parsed.is_global:
        raise UserError(
            f"{address} cannot be an iSCSI portal: it must be the one address of this NAS on the storage network, "
            "which is never a public one"
        )
    if not 1 <= port <= 65535:
        raise UserError(f"{port} is no TCP port for an iSCSI portal")


def backstore_name(target: str) -> str:
    """The name of the backstore of a target: `rocks-` and what follows the colon, which names image and epoch."""
    return _BACKSTORE_PREFIX + target.partition(":")[2]


def is_own_backstore(name: str) -> bool:
    """Whether it was named by `backstore_name`."""
    return name.startswith(_BACKSTORE_PREFIX)
