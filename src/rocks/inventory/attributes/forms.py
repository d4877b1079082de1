"""The checks of the forms that the rows of attributes name, made when one is set. Pure.

An attribute that the system does not read may have any text. Readers check again, since an earlier release stored any
value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError, StateError, UserError
from rocks.core.names import check_host_name, check_network_name, check_plain_name, printable
from rocks.core.public_keys import read_keys
from rocks.core.values import FALSE_VALUES, TRUE_VALUES, read_number
from rocks.install.installation.plan import check_arguments, read_disks, read_partitions
from rocks.install.profile_values import MAX_DISKS, MAX_NAS_DISKS, check_pool_disks
from rocks.inventory import mac_pool
from rocks.inventory.attributes.known import KNOWN
from rocks.inventory.attributes.rules import known_spelling
from rocks.inventory.disks.places import check_device_pattern, check_image_directory
from rocks.inventory.limits import MAX_VM_CPUS
from rocks.library.guest_images import BOOT_PLACES, check_medium_name, check_source_name
from rocks.machine.limits import LARGEST_MEMORY_MB, LEAST_MEMORY_MB
from rocks.machine.placement import (
    MAX_IOTHREADS,
    PAGE_SIZES_KB,
    PINNED,
    WATCHDOG_ACTIONS,
    check_cpu_mode,
    check_queues,
    read_cpu_set,
    read_page_reserve,
    read_pci_pools,
    read_pci_requests,
)
from rocks.network import vlan_pool
from rocks.network.filter_plan import read_ipv6_addresses
from rocks.network.infiniband import pkeys
from rocks.network.infiniband.pkeys import check_default_membership, check_sm
from rocks.network.interface_rules import check_ip
from rocks.network.network_rules import check_zone
from rocks.storage.volumes.places import check_pool_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.inventory.attributes.known import Known

    Check = Callable[[str], object]


def check_form(name: str, value: str) -> None:
    """UserError when the system reads the attribute `name`, in any case, and cannot read this value."""
    known = KNOWN.get(known_spelling(name))
    if known is None:
        return
    try:
        _check_of(known)(value)
    except _UnfitError as error:
        raise UserError(f'the attribute {name} must be {error}, not "{printable(value)}"') from None
    except RocksError as error:
        raise UserError(f'the attribute {name} cannot have the value "{printable(value)}": {error}') from None


class _UnfitError(UserError):
    """The message is what the value must be."""


def _one_of(*texts: str) -> Check:
    def check(value: str) -> None:
        if value not in texts:
            raise UserError(f"it must be {' or '.join(texts)}")

    return check


def _yes_or_no(value: str) -> None:
    if value.lower() not in (*TRUE_VALUES, *FALSE_VALUES):
        raise UserError("it must be yes or no")


def _exactly_true(value: str) -> None:
    """The readers of these attributes compare with `true`, as Rocks does: a yes would be a no."""
    if value != "true" and value.lower() not in FALSE_VALUES:
        raise UserError("it must be true or false")


def _absolute_folder(value: str) -> None:
    if not value.startswith("/") or not value.isprintable() or {"", ".", ".."} & set(value[1:].split("/")):
        raise UserError("it must be the absolute path of a folder, without //, . and ..")


def _number(lowest: int, highest: int) -> Check:
    def check(value: str) -> None:
        try:
            read_number("the value", value, lowest, highest)
        except UserError:
            raise _UnfitError(f"an integer from {lowest} to {highest}") from None

    return check


def _each(check: Check) -> Check:
    """A check of texts that commas separate."""

    def check_all(value: str) -> None:
        for text in value.split(","):
            check(text.strip())

    return check_all


def _pool_disks(most: int) -> Check:
    def check(value: str) -> None:
        try:
            check_pool_disks(value, most)
        except UserError as error:
            raise UserError(f"it {error}") from None

    return check


def _pool(read: Callable[[str], object], what: str) -> Check:
    """A check by the reader of a pool, whose own error is about the attribute as it is stored."""

    def check(value: str) -> None:
        try:
            read(value)
        except StateError:
            raise _UnfitError(what) from None

    return check


def _path(value: str) -> None:
    if not value.startswith("/") or ".." in value.split("/") or not value.isprintable():
        raise UserError("it must be an absolute path")


def _pinning(value: str) -> None:
    if value not in ("none", *PINNED) and not value.lstrip().startswith("<"):
        raise UserError("it must be none, pin_all, numa, or XML elements of cputune")


def _elements(value: str) -> None:
    if not value.lstrip().startswith("<"):
        raise UserError("it must be XML elements")


def _check_of(known: Known) -> Check:
    if isinstance(known.form, range):
        return _number(known.form[0], known.form[-1])
    return _CHECKS[known.form] if isinstance(known.form, str) else _one_of(*known.form)


_CHECKS: dict[str, Check] = {
    "boot place": _one_of(*BOOT_PLACES),
    "CD image": check_medium_name,
    "CD images": _each(check_medium_name),
    "CPU mode": check_cpu_mode,
    "CPU pinning": _pinning,
    "CPU set": read_cpu_set,
    "device patterns": _each(check_device_pattern),
    "disk choice": read_disks,
    "disks of a host": _pool_disks(MAX_DISKS),
    "disks of a NAS": _pool_disks(MAX_NAS_DISKS),
    "folder": _absolute_folder,
    "host name": check_host_name,
    "host or address": lambda value: check_plain_name("a host", value),
    "I/O threads": _number(0, MAX_IOTHREADS),
    "image": check_source_name,
    "image folder": check_image_directory,
    "image folders": _each(check_image_directory),
    "IPv4 address": check_ip,
    "IPv4 addresses": _each(check_ip),
    "IPv6 addresses": read_ipv6_addresses,
    "kernel arguments": check_arguments,
    "MAC address": mac_pool.check_base,  # Rocks prints it without leading zeros
    "MAC mask": mac_pool.check_mask,
    "membership": check_default_membership,
    "memory in MB": _number(LEAST_MEMORY_MB, LARGEST_MEMORY_MB),
    "network": check_network_name,
    "number of CPUs": _number(1, MAX_VM_CPUS),
    "page reserve": read_page_reserve,
    "page size": _one_of("none", *PAGE_SIZES_KB),
    "partition keys": _pool(pkeys.read_pool, "keys and ranges of keys, such as 0x0002-0x00ff"),
    "partitions": read_partitions,
    "path": _path,
    "PCI pools": read_pci_pools,
    "PCI requests": read_pci_requests,
    "pool": check_pool_name,
    "pools": _each(check_pool_name),
    "public keys": read_keys,
    "queues": check_queues,
    "subnet manager": check_sm,
    "text": lambda _: None,
    "true or no": _exactly_true,
    "user": lambda value: check_plain_name("a user", value),
    "VLAN ids": _pool(vlan_pool.read_pool, "VLAN ids from 2 to 4094 and ranges of them, such as 100-199,300"),
    "watchdog action": _one_of(*WATCHDOG_ACTIONS),
    "XML elements": _elements,
    "yes or no": _yes_or_no,
    "zone": check_zone,
}
"""Form → the check of a value, which raises an error of `rocks.core.errors`."""
