"""What the roll reads of the site: rows of commands, and its own settings, which are attributes of the site."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.downloads import check_url
from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.core.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.commands import Command

Row = dict[str, object]

REPOSITORY, URL = "pragma_repository", "pragma_repository_url"
DRIVER, INTERFACES = "pragma_driver", "pragma_additional_interfaces"
ADDRESSES, RESERVED, LOGS = "pragma_public_addresses", "pragma_reserved_cpus", "pragma_log_folder"
KVM_ROCKS = "kvm_rocks"
CLOUDS = ("ec2", "cloudstack", "openstack")


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
    values = {name: stored.get(name) or known.default for name, known in _ATTRIBUTES.items()}
    for name in (REPOSITORY, LOGS, RESERVED):
        known = _ATTRIBUTES[name]
        if not known.is_valid(values[name]):
            raise StateError(
                f"the attribute {name} must be {known.form}; rocks set attr {name} {known.default}"
            )
    return Settings(
        Path(values[REPOSITORY]),
        values[URL].rstrip("/"),
        int(values[RESERVED]),
        Path(values[LOGS]),
        values[ADDRESSES],
        values[DRIVER],
        values[INTERFACES],
    )


def check_attribute(name: str, value: str) -> None:
    """UserError for a value that the attribute, if it is one of the roll's, cannot have. Pure.

    Those who read it check again: an earlier release stored any value.
    """
    known = _ATTRIBUTES.get(name.lower())
    if known is not None and not known.is_valid(value):
        raise UserError(f'the attribute {name} must be {known.form}, not "{printable(value)}"')


def whole_number(text: str) -> int | None:
    """The number of decimal digits below 1,000,000,000; None for other text, and for very many digits."""
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


class _Attribute(NamedTuple):
    default: str
    form: str
    is_valid: Callable[[str], bool]


def _is_path(text: str) -> bool:
    return text.startswith("/")


def _is_url(text: str) -> bool:
    try:
        check_url(text)
    except UserError:
        return False
    return True


def _are_addresses(text: str) -> bool:
    entries = text.replace(",", " ").split()
    return bool(entries) and all(_is(IPv4Address, entry.partition("=")[0]) for entry in entries)


def _are_interfaces(text: str) -> bool:
    entries = [entry.split(":") for entry in text.split()]
    return bool(entries) and all(
        2 <= len(parts) <= 3 and all(parts) and (len(parts) == 2 or _is(IPv4Network, parts[2]))
        for parts in entries
    )


def _is(kind: Callable[[str], object], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


_ATTRIBUTES = {
    REPOSITORY: _Attribute("/var/lib/rocks/pragma", "an absolute path", _is_path),
    URL: _Attribute("", "a URL of http or https", _is_url),
    ADDRESSES: _Attribute("", "ADDRESS or ADDRESS=NAME, separated by blanks", _are_addresses),
    RESERVED: _Attribute("0", "a number of CPUs", lambda text: whole_number(text) is not None),
    LOGS: _Attribute("/var/log/rocks-pragma", "an absolute path", _is_path),
    DRIVER: _Attribute(
        KVM_ROCKS,
        f"{KVM_ROCKS}, {', '.join(CLOUDS)} or the absolute path of a folder of programs",
        lambda text: text in (KVM_ROCKS, *CLOUDS) or _is_path(text),
    ),
    INTERFACES: _Attribute("", "NETWORK:DEVICE or NETWORK:DEVICE:PART, separated by blanks", _are_interfaces),
}
"""Attribute → its default, and the form of its values for people and for `check_attribute`."""
