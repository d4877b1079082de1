"""What the roll reads of the site: rows of commands, and its own settings, which are attributes of the site."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError
from rocks.core.terminal import one_line

if TYPE_CHECKING:
    from rocks.commands import Command

Row = dict[str, object]

REPOSITORY, URL = "pragma_repository", "pragma_repository_url"
DRIVER, INTERFACES = "pragma_driver", "pragma_additional_interfaces"
ADDRESSES, RESERVED, LOGS = "pragma_public_addresses", "pragma_reserved_cpus", "pragma_log_folder"
_DEFAULTS = {
    REPOSITORY: "/var/lib/rocks/pragma",
    URL: "",
    ADDRESSES: "",
    RESERVED: "0",
    LOGS: "/var/log/rocks-pragma",
    DRIVER: "kvm_rocks",
    INTERFACES: "",
}


class Settings(NamedTuple):
    """The attributes of the roll: folders, the URL or an empty text, the CPUs of each host that stay free.

    `driver` is kvm_rocks, a cloud, or the folder of a driver's programs.
    """

    repository: Path
    url: str
    reserved_cpus: int
    logs: Path
    addresses: str
    driver: str
    interfaces: str


def rows(command: Command, name: str, arguments: Sequence[str] = ()) -> list[Row]:
    """The rows that another command lists, each with its owner as `owner`."""
    found: list[Row] = []
    for entry in json.loads(command.command(name, [*arguments, "json=yes"]) or "[]"):
        owner, listed = entry.values()
        found += [{**row, "owner": owner} for row in listed]
    return found


def attributes(command: Command, listing: str = "list.attr") -> dict[str, str]:
    """Attribute → value, of a command that lists them."""
    return {str(row["owner"]): str(row["value"] or "") for row in rows(command, listing)}


def read_settings(command: Command) -> Settings:
    """The settings of the site. StateError, with the command that corrects it, for one that is not valid."""
    stored = attributes(command)
    values = {name: stored.get(name) or default for name, default in _DEFAULTS.items()}
    for name in (REPOSITORY, LOGS):
        if not values[name].startswith("/"):
            raise StateError(
                f"the attribute {name} is no absolute path; rocks set attr {name} {_DEFAULTS[name]}"
            )
    reserved = whole_number(values[RESERVED])
    if reserved is None:
        raise StateError(f"the attribute {RESERVED} is no number of CPUs; rocks set attr {RESERVED} 0")
    return Settings(
        Path(values[REPOSITORY]),
        values[URL].rstrip("/"),
        reserved,
        Path(values[LOGS]),
        values[ADDRESSES],
        values[DRIVER],
        values[INTERFACES],
    )


def whole_number(text: str) -> int | None:
    """The number of decimal digits below 1,000,000,000; None for other text. Python does not read very many digits."""
    digits = text.lstrip("0")
    if not text.isascii() or not text.isdecimal() or len(digits) > 9:
        return None
    return int(digits or "0")


def free_address(pool: str, used: Sequence[str]) -> tuple[str, str]:
    """(the first address of the pool that is not in use, its name of the name service).

    The pool has addresses separated by blanks or commas; `ADDRESS=NAME` has a name where no name service has it.
    StateError for a pool that is not valid, without a free address, and for an address without a name.
    """
    entries = pool.replace(",", " ").split()
    for entry in entries:
        address, _, name = entry.partition("=")
        try:
            IPv4Address(address)
        except AddressValueError:
            raise StateError(
                f"the attribute {ADDRESSES} has {one_line(entry)[:80]!r}, which is no address; "
                f"rocks set attr {ADDRESSES} 'ADDRESS ADDRESS=NAME …'"
            ) from None
        if address not in used:
            return address, name or _reverse_name(address)
    raise StateError(
        f"no public address is free: the attribute {ADDRESSES} has {len(entries)}, and all are in use; add one, or "
        "remove a cluster (rocks pragma clean)"
    )


def _reverse_name(address: str) -> str:
    try:
        return socket.gethostbyaddr(address)[0]
    except OSError:
        raise StateError(
            f"the address {address} has no name: the name service has no reverse entry for it; add one there, or state "
            f"it as {address}=NAME in the attribute {ADDRESSES}"
        ) from None
