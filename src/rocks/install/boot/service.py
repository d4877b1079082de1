"""The boot service of a frontend: dnsmasq for DHCP and TFTP on the network private, and nowhere else.

What it answers is written by `files`.
"""

from __future__ import annotations

import filecmp
import gzip
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.clock import utc_now
from rocks.core.errors import HostError, StateError
from rocks.core.files import PUBLIC, draft, ensure_folders, remove_file, write_file
from rocks.core.own_addresses import device_states
from rocks.core.process import replace_this_process
from rocks.core.values import TRUE_VALUES
from rocks.install.boot.files import (
    BIOS_PROGRAM,
    FIRST_SCRIPT,
    FIRST_STAGE_FOLDER,
    INSTALLER_IMAGE,
    KERNEL,
    LOCK,
    LOCK_SECONDS,
    SITE_IMAGE,
    UEFI_PROGRAM,
    BootNetwork,
    dnsmasq_configuration,
    dnsmasq_hosts,
    first_script,
    has_boot_service,
    places,
    run_folder,
    served_hosts,
    sync_host_files,
    tftp_folder,
)
from rocks.install.installation.installations import installer_folder
from rocks.install.installation.plan import name_servers
from rocks.install.profile_values import DEFAULT_DISTRIBUTION
from rocks.inventory.address_records import private_address
from rocks.inventory.attributes.records import global_attributes, resolve_attribute
from rocks.inventory.host_records import local_host
from rocks.inventory.records import PRIVATE_NETWORK
from rocks.network.host_network_plan import GATEWAY_ATTRIBUTE
from rocks.network.network_rules import attribute_address
from rocks.network.networks import load_networks
from rocks.storage.broker.broker import node_authority

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.database.connection import Database

_IPXE = Path("/usr/lib/ipxe")
_READABLE = 0o755
_PIECE_BYTES = 1024 * 1024
_FOLDERS = ("installer", "installer/site")
_ALIGNMENT = 4
_STATED = "boot_service"


class SyncedConfig(NamedTuple):
    """What `rocks sync config` did: the number of served hosts, and whether dnsmasq must be started again."""

    hosts: int
    needs_restart: bool


def start_boot_service(database: Database, notify: Callable[[str], None]) -> None:
    """Write all files of the service and become dnsmasq; does not return.

    StateError before the operator has stated that there is no other DHCP server (the attribute boot_service of the
    frontend), when this machine is not on the network private, or dnsmasq or iPXE is not installed; HostError when a
    file cannot be written. Without the installer's files the service starts, and `notify` gets a line.
    """
    _check_stated(database)
    program = shutil.which("dnsmasq", path="/usr/sbin:/sbin:/usr/bin")
    if program is None:
        raise StateError("dnsmasq is not installed: apt-get install dnsmasq-base")
    network = boot_network(database)
    _check_ipxe()
    _write_all(database, network, notify)
    database.close()
    # the program itself prints nothing here: its messages go to the system log; 2.90 ignores SIGINT in the foreground
    notify(
        "dnsmasq runs here until Ctrl-\\, and ignores Ctrl-C; in the background: systemctl start rocks-boot"
    )
    replace_this_process([program, "--keep-in-foreground", f"--conf-file={run_folder()}/dnsmasq.conf"])


def how_to_begin(name: str) -> str:
    """What to run for the boot service to begin on the frontend of that name."""
    return (
        f"rocks set host attr {name} boot_service yes, which states that the network private has no other DHCP server, "
        f"then rocks report host profile {name} | bash"
    )


def _check_stated(database: Database) -> None:
    name = local_host(database)
    if resolve_attribute(database, _STATED, [name]).get(name, "").lower() not in TRUE_VALUES:
        raise StateError(f"two DHCP servers on one network disturb its machines: {how_to_begin(name)}")


def sync_config(database: Database, notify: Callable[[str], None]) -> SyncedConfig | None:
    """Write all files of the boot service anew; None on a machine without the service. Errors as of its start."""
    if not has_boot_service():
        return None
    network = boot_network(database)
    _check_ipxe()
    old = _read(run_folder() / "dnsmasq.conf")
    hosts = _write_all(database, network, notify)
    return SyncedConfig(hosts, old is not None and old != _read(run_folder() / "dnsmasq.conf"))


def report_configuration(database: Database) -> list[tuple[str, str]]:
    """Path and text of dnsmasq's configuration and of its hosts, as they would be written now."""
    network = boot_network(database)
    hosts, _ = served_hosts(database)
    return [
        (f"{run_folder()}/dnsmasq.conf", dnsmasq_configuration(network, places())),
        (places().hosts, dnsmasq_hosts(hosts)),
    ]


def boot_network(database: Database) -> BootNetwork:
    """The network private, as this machine is on it. StateError when no device has the frontend's address there."""
    name = local_host(database)
    address, netmask = private_address(database, name)
    attributes = global_attributes(database)
    (network,) = load_networks(database, [PRIVATE_NETWORK])
    database.end_reading()
    return BootNetwork(
        _device_with(address, name),
        address,
        netmask,
        attribute_address(GATEWAY_ATTRIBUTE, attributes.get(GATEWAY_ATTRIBUTE, "").strip()),
        name_servers(attributes),
        network.mtu_bytes,
    )


def _device_with(address: str, name: str) -> str:
    """The device of this machine that has the address, and no other machine's network."""
    devices = list(device_states(address))
    if len(devices) != 1:
        raise StateError(
            f"{'no device' if not devices else ' and '.join(devices)} of this machine has the address {address}, which "
            f"{name} has on the network private: see ip address, and rocks list host interface {name}"
        )
    return devices[0]


def _check_ipxe() -> None:
    missing = [name for name in (BIOS_PROGRAM, UEFI_PROGRAM) if not (_IPXE / name).is_file()]
    if missing:
        raise StateError(f"{_IPXE}/{missing[0]} is not there: apt-get install ipxe")


def _write_all(database: Database, network: BootNetwork, notify: Callable[[str], None]) -> int:
    """Write everything that the service serves; returns the number of hosts. StateError without a certificate."""
    authority = node_authority().bundle(local_host(database)).authority
    try:
        with database.locked(LOCK, LOCK_SECONDS):
            folder = tftp_folder()
            for one in (folder, folder / FIRST_STAGE_FOLDER, run_folder()):
                ensure_folders(one, _READABLE)
            for name in (BIOS_PROGRAM, UEFI_PROGRAM):
                _copy(_IPXE / name, folder / name)
            write_file(folder / FIRST_SCRIPT, first_script(), mode=PUBLIC)
            _copy_installer(
                installer_folder(database, DEFAULT_DISTRIBUTION, ""), folder / FIRST_STAGE_FOLDER, notify
            )
            site = site_files(authority, int(utc_now().timestamp()))
            write_file(folder / FIRST_STAGE_FOLDER / SITE_IMAGE, site, mode=PUBLIC)
            write_file(run_folder() / "dnsmasq.conf", dnsmasq_configuration(network, places()), mode=PUBLIC)
    except OSError as error:
        raise HostError(
            f"the files of the boot service cannot be written: {error.strerror} ({error.filename})"
        ) from None
    return sync_host_files(database)


def _copy_installer(source: Path, target: Path, notify: Callable[[str], None]) -> None:
    """Kernel and installer of the distribution; one that it no longer has is not served any more."""
    for name in (KERNEL, INSTALLER_IMAGE):
        if (source / name).is_file():
            _copy(source / name, target / name)
            continue
        removed = f"; removed the old {target / name}" if (target / name).exists() else ""
        remove_file(target / name)
        notify(
            f"{source / name} is not there, so no host can be installed{removed}; rocks check site shows what is "
            "missing"
        )


def _copy(source: Path, target: Path) -> None:
    """Copy a file, unless the copy has the same content already."""
    if target.is_file() and filecmp.cmp(source, target, shallow=False):
        return
    with source.open("rb") as old, draft(target, mode=PUBLIC) as new:
        while piece := old.read(_PIECE_BYTES):
            new.write(piece)


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None


def site_files(authority: bytes, written_seconds: int) -> bytes:
    """The second initramfs of the installer: a cpio archive with `installer/site/ca.pem` and `installer/site/time`.

    The kernel unpacks it over the installer, which is the same for every site. Source of the form `newc`: the kernel's
    Documentation/driver-api/early-userspace/buffer-format.rst. It is compressed: under UEFI it follows the installer's
    last byte directly, and there the kernel takes an archive that is not compressed only at a multiple of four bytes.
    `authority` is the certificate, as PEM, that signs the frontend's web service. `written_seconds` is the time now,
    in seconds since 1970: an installer whose clock is behind it sets its clock.
    """
    entries = [
        *((folder, stat.S_IFDIR | 0o755, b"") for folder in _FOLDERS),
        ("installer/site/ca.pem", stat.S_IFREG | 0o644, authority),
        ("installer/site/time", stat.S_IFREG | 0o644, b"%d\n" % written_seconds),
        ("TRAILER!!!", 0, b""),
    ]
    archive = b"".join(_record(number, *entry) for number, entry in enumerate(entries, start=1))
    return gzip.compress(archive, mtime=0)


def _record(number: int, name: str, mode: int, content: bytes) -> bytes:
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    # number, mode, owner, group, links, time, size, four device numbers, length of the name, checksum
    fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + encoded) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGNMENT)
