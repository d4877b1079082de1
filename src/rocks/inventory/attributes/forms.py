"""The form of the values of attributes that the system reads, checked when one is set. Pure.

An attribute that is not listed may have any text: the system does not read it, or any text is valid. Readers check
again, since an earlier release stored any value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError, UserError
from rocks.core.names import check_host_name, check_network_name, check_plain_name, printable
from rocks.core.values import read_number
from rocks.install.installation.disks import read_disks, read_partitions
from rocks.install.installation.plan import check_arguments
from rocks.install.profile_values import MOST_DISKS, MOST_NAS_DISKS, check_pool_disks
from rocks.inventory import mac_pool
from rocks.inventory.disks.place_rules import check_device_pattern, check_image_directory
from rocks.inventory.records import TRUE_VALUES
from rocks.library.guest_images import check_image_name, read_keys
from rocks.library.guest_media import BOOT_PLACES, check_medium_name
from rocks.machine.addition_plan import LARGEST_MEMORY_MB, LEAST_MEMORY_MB
from rocks.machine.maxima import MOST_CPUS
from rocks.machine.placement.values import (
    MOST_IOTHREADS,
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
from rocks.network.infiniband.partition_plan import check_default_membership, check_sm
from rocks.network.interface_rules import check_ip, check_mac
from rocks.network.network_rules import check_zone
from rocks.storage.volumes.places import check_pool_name
from rocks.storage.wire.configuration_bounds import MOST_TRANSFERS

if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[str], object]

LONGEST_GRACE_HOURS = 366 * 24
"""The most hours for which a removed image can be restored."""

_FALSE = ("off", "no", "n", "false", "0")
_HIGHEST_PORT = 65535


def check_form(name: str, value: str) -> None:
    """UserError when the system reads the attribute `name`, in any case, and cannot read this value."""
    check = _FORMS.get(name.lower())
    if check is None:
        return
    try:
        check(value)
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
    if value.lower() not in (*TRUE_VALUES, *_FALSE):
        raise UserError("it must be true or false")


def _exactly_true(value: str) -> None:
    """The readers of these attributes compare with `true`, as Rocks does: a yes would be a no."""
    if value != "true" and value.lower() not in _FALSE:
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


def _path(value: str) -> None:
    if not value.startswith("/") or ".." in value.split("/") or not value.isprintable():
        raise UserError("it must be an absolute path")


def _pinning(value: str) -> None:
    if value not in ("none", *PINNED) and not value.lstrip().startswith("<"):
        raise UserError("it must be none, pin_all, numa, or XML elements of cputune")


def _elements(value: str) -> None:
    if not value.lstrip().startswith("<"):
        raise UserError("it must be XML elements")


_FORMS: dict[str, Check] = {
    **dict.fromkeys(
        (
            *(
                "managed",
                "kvm",
                "kvm_autostart",
                "kvm_netboot",
                "kvm_discard",
                "img_storage_nas",
                "img_storage_vm",
                "img_sync",
                "install_overwrite",
            ),
            *(
                "img_persistent",
                "img_storage_part_zfs_mirror",
                "boot_service",
                "dns_service",
                "nucleus_service",
                "host_network",
                "firewall",
                "airboss_old_rsa",
            ),
        ),
        _yes_or_no,
    ),
    "managed": _exactly_true,
    "kvm_autostart": _exactly_true,
    "primary_net": check_network_name,
    "img_grace_hours": _number(0, LONGEST_GRACE_HOURS),
    "ssh_port": _number(1, _HIGHEST_PORT),
    "vm_image_directory": check_image_directory,
    "image_library": _absolute_folder,
    "vm_image": check_image_name,
    "vm_cdrom": check_medium_name,
    "kvm_cdrom_boot": _one_of(*BOOT_PLACES),
    "vm_authorized_keys": read_keys,
    "vm_cluster_address": check_ip,
    "vm_instance": _number(0, 999_999_999),
    "vm_image_directories": _each(check_image_directory),
    "vm_disk_devices": _each(check_device_pattern),
    "vm_image_erase": _one_of("discard", "overwrite"),
    "vm_memory_reserve": _number(0, 999_999_999),
    "vm_mac_base_addr": check_mac,
    "vm_mac_base_addr_mask": mac_pool.check_mask,
    "vlan_transport": _one_of("local"),
    "vm_filter": _one_of("on", "off"),
    "vm_ipv6": read_ipv6_addresses,
    "vm_vlan_pool": vlan_pool.read_pool,
    "ib_pkey_pool": pkeys.read_pool,
    "ib_default_membership": check_default_membership,
    "ib_sm": check_sm,
    "ib_partitions_file": _path,
    "ib_opensm_pid_file": _path,
    "cpu_mode": check_cpu_mode,
    "kvm_cpu_pinning": _pinning,
    "kvm_max_cpus": _number(1, MOST_CPUS),
    "kvm_max_memory": _number(LEAST_MEMORY_MB, LARGEST_MEMORY_MB),
    "kvm_hugepages": _one_of("none", *PAGE_SIZES_KB),
    "kvm_queues": check_queues,
    "kvm_iothreads": _number(0, MOST_IOTHREADS),
    "kvm_watchdog": _one_of(*WATCHDOG_ACTIONS),
    "kvm_pci_devices": read_pci_requests,
    "vm_pinned_cpus": read_cpu_set,
    "vm_hugepages": read_page_reserve,
    "vm_pci_pools": read_pci_pools,
    "hvm_features": _elements,
    "img_zpools": _each(check_pool_name),
    "img_zpool_disks": _pool_disks(MOST_NAS_DISKS),
    "vm_container_zpool": check_pool_name,
    "vm_container_zpool_disks": _pool_disks(MOST_DISKS),
    "imgstorage-pool": check_pool_name,
    "imgstorage-network": check_zone,
    "imgstorage-workers": _number(1, MOST_TRANSFERS),
    "packaging": _one_of("deb", "rpm"),
    "rabbitmq_server": lambda value: check_plain_name("a host", value),
    "kickstart_privatehostname": check_host_name,
    "kickstart_privatekickstarthost": check_ip,
    "kickstart_privategateway": check_ip,
    "kickstart_publicntphost": lambda value: check_plain_name("a host", value),
    "kickstart_privatednsservers": _each(check_ip),
    "install_disk": read_disks,
    "install_partitions": read_partitions,
    "install_kernel_arguments": check_arguments,
    "airboss_images": _each(check_medium_name),
    "airboss": lambda value: check_plain_name("a host", value),
    "ipmi_address": lambda value: check_plain_name("a host", value),
    "ipmi_user": lambda value: check_plain_name("a user", value),
    "kickstart_publicgateway": check_ip,
    "kickstart_publicdnsservers": _each(check_ip),
    "kickstart_distrodir": _path,
}
"""Name in lower case → the check of a value, which raises an error of `rocks.core.errors`."""
