"""New machines on the network private become hosts: a listener for their requests, and what each gets."""

from __future__ import annotations

import contextlib
import ctypes
import select
import signal
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.clock import Deadline, monotonic_seconds
from rocks.core.errors import BusyError, HostError, RocksError, StateError, UserError
from rocks.core.names import printable
from rocks.install.boot.actions import set_next_boot
from rocks.install.boot.files import (
    FIRST_STAGE_FOLDER,
    KERNEL,
    dnsmasq_process,
    has_boot_service,
    sync_host_files,
    tftp_folder,
    write_boot_files,
)
from rocks.install.boot.service import boot_network, how_to_begin
from rocks.install.installation.installations import check_is_booted, installer_folder, read_checksum
from rocks.install.installation.states import INSTALL
from rocks.inventory.address_records import reserved_ips
from rocks.inventory.appliances import load_appliances
from rocks.inventory.host_records import local_host, lock_inventory, unlock_inventory
from rocks.inventory.hosts import add_host, memberships, names_beginning_with, taken_ranks
from rocks.inventory.new_host_parameters import HostParameters
from rocks.inventory.records import PRIVATE_NETWORK
from rocks.network import interfaces
from rocks.network.dns.changes import has_names
from rocks.network.dns.service import sync_names
from rocks.network.interfaces import InterfaceParameters, add_interface, existing_subnet
from rocks.network.network_rules import next_addresses
from rocks.storage.volumes.settings import FRONTEND_APPLIANCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rocks.database.connection import Database
    from rocks.inventory.appliances import Appliance


# Requests for network boots, as they arrive at a device here: a DHCPDISCOVER of a PXE client in an Ethernet frame.
#
# Sources: packet(7), the kernel's filter.rst; RFC 2131 (message), RFC 2132 (options), RFC 3004 (user class), the PXE
# specification 2.1 (vendor class).


_ETH_P_IP = 0x0800
_SO_ATTACH_FILTER = 26
_OUTGOING = 4
_LONGEST_FRAME = 2048
_LOAD_BYTE, _LOAD_HALF, _LOAD_HALF_INDEXED, _LOAD_HEADER_LENGTH = 0x30, 0x28, 0x48, 0xB1
_IF_EQUAL, _IF_SET, _RETURN = 0x15, 0x45, 0x06
_VLAN_TAG_PRESENT = 0xFFFFF000 + 48

# DHCP requests without a VLAN tag: the kernel has taken it off frames of a cluster's VLAN, which look like the site's
_FILTER = (
    (_LOAD_BYTE, 0, 0, _VLAN_TAG_PRESENT),
    (_IF_EQUAL, 0, 9, 0),
    (_LOAD_HALF, 0, 0, 12),
    (_IF_EQUAL, 0, 7, _ETH_P_IP),
    (_LOAD_BYTE, 0, 0, 23),
    (_IF_EQUAL, 0, 5, socket.IPPROTO_UDP),
    (_LOAD_HALF, 0, 0, 20),
    (_IF_SET, 3, 0, 0x1FFF),
    (_LOAD_HEADER_LENGTH, 0, 0, 14),
    (_LOAD_HALF_INDEXED, 0, 0, 16),
    (_IF_EQUAL, 1, 0, 67),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, _LONGEST_FRAME),
)

_ETHERNET, _UDP_HEADER, _FIXED = 14, 8, 236
_COOKIE = b"\x63\x82\x53\x63"
_DISCOVER = b"\x01"
_PAD, _END, _TYPE, _VENDOR_CLASS, _USER_CLASS = 0, 255, 53, 60, 77


class NetworkBoots:
    """The requests that arrive at one device, without a VLAN tag; to be used in a `with`."""

    def __init__(self, device: str) -> None:
        """HostError when the device cannot be listened on, UserError without the right to."""
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            program = b"".join(struct.pack("HBBI", *step) for step in _FILTER)
            buffer = ctypes.create_string_buffer(program)
            described = struct.pack("HL", len(_FILTER), ctypes.addressof(buffer))
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)
            self._socket.bind((device, _ETH_P_IP))
        except PermissionError:
            raise UserError(f"requests on {device} are for root only; run this as root") from None
        except OSError as error:
            raise HostError(f"cannot listen on the device {device}: {error.strerror}") from None

    def __enter__(self) -> NetworkBoots:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def next(self, seconds: float) -> str | None:
        """The MAC address of the next request, waiting at most so long; None for none, and for another frame."""
        if not select.select([self._socket], [], [], seconds)[0]:
            return None
        try:
            frame, sender = self._socket.recvfrom(_LONGEST_FRAME)
        except OSError as error:
            raise HostError(f"cannot listen any longer: {error.strerror}") from None
        return None if sender[2] == _OUTGOING else requesting_mac(frame)


def requesting_mac(frame: bytes) -> str | None:
    """The MAC address of the machine that asks for a network boot; None for every other frame."""
    if len(frame) < _ETHERNET + 20 or frame[12:14] != b"\x08\x00" or frame[23] != 17 or frame[14] >> 4 != 4:
        return None
    udp = _ETHERNET + (frame[14] & 15) * 4
    message = frame[udp + _UDP_HEADER :]
    if frame[udp + 2 : udp + 4] != (67).to_bytes(2, "big") or len(message) < _FIXED + len(_COOKIE):
        return None
    # a request, of Ethernet, whose client has sent it itself
    sender = frame[6:12]
    if message[:3] != b"\x01\x01\x06" or message[28:34] != sender or message[_FIXED : _FIXED + 4] != _COOKIE:
        return None
    options = _options(message[_FIXED + len(_COOKIE) :])
    boots = options.get(_VENDOR_CLASS, b"").startswith(b"PXEClient") or b"iPXE" in options.get(
        _USER_CLASS, b""
    )
    if options.get(_TYPE) != _DISCOVER or not boots or sender[0] & 1 or not any(sender):
        return None
    return ":".join(f"{byte:02x}" for byte in sender)


def _options(data: bytes) -> dict[int, bytes]:
    """The options by number; what follows a damaged one is ignored."""
    found: dict[int, bytes] = {}
    place = 0
    while place < len(data) and data[place] != _END:
        if data[place] == _PAD:
            place += 1
            continue
        if place + 1 >= len(data) or place + 2 + data[place + 1] > len(data):
            break
        found.setdefault(data[place], data[place + 2 : place + 2 + data[place + 1]])
        place += 2 + data[place + 1]
    return found


# New machines on the network private become hosts: each gets a name, an address, an appliance, and is installed.
#
# The frontend listens by a packet socket whose filter drops frames with a VLAN tag: a machine that boots inside a
# cluster is not the site's. dnsmasq's log was refused, since its words are no interface, and so were addresses for
# unknown machines, which nobody would have decided. At most `per-minute` hosts are added in a minute.


LOCK = "discovery"
DEVICE = "eth0"
_MINUTE_SECONDS = 60.0
_WAIT_SECONDS = 1.0
LAST_RANK = 65534


class DiscoverySettings(NamedTuple):
    """What new machines become: appliance, rack, and the lowest rank; when to end: number of hosts, seconds or None.

    `per_minute` bounds how many hosts are added within a minute.
    """

    appliance: str
    rack: int
    rank: int
    max_hosts: int | None
    seconds: float | None
    per_minute: int


class DiscoveredHost(NamedTuple):
    """A new host."""

    name: str
    address: str
    mac: str


def discover_hosts(
    database: Database, settings: DiscoverySettings, notify: Callable[[str], None]
) -> Iterator[DiscoveredHost]:
    """Add a host for each unknown machine that asks for a network boot; yields it when it is committed.

    `notify` gets a line when it begins to wait, and before that one for each reason why no host would be installed;
    later, one for each machine that has to ask again, and for each failure of the name service.
    The first item comes when a machine was found; what is invalid is found before. StateError without the boot service,
    for a network without free addresses, beyond the bound, and when the time ends before all hosts are found; BusyError
    while another discovery runs.
    """
    appliance = _appliance(database, settings.appliance)
    settings = settings._replace(appliance=appliance.name)  # of which its hosts get their names
    device = _begin(database)
    deadline, added = Deadline(settings.seconds), 0
    bound = _Bound(settings.per_minute)
    known: set[str] = set()
    with NetworkBoots(device) as requests:
        for fault in _faults(database, appliance.distribution):
            notify(f"Warning: {fault}")
        notify(f"waiting for new machines on {device}; Ctrl-C ends it")
        while not deadline.passed() and added != settings.max_hosts:
            left = deadline.remaining_seconds()
            mac = requests.next(_WAIT_SECONDS if left is None else min(left, _WAIT_SECONDS))
            if mac is None or mac in known:
                continue
            try:
                try:
                    host = _add(database, mac, appliance.membership, settings, bound)
                except BusyError as error:
                    notify(f"Warning: {mac} is not added now ({error}); it is added when it asks again")
                    continue
                known.add(mac)
                if host is not None:
                    added += 1
                    with _interrupt_deferred():  # Ctrl-C ends the discovery, but loses no host that was added
                        _store(database, notify)
                        unlock_inventory(database)
                        _update_names(database, notify)
                        yield host
            finally:
                database.rollback()
                unlock_inventory(database)
    _check_all_found(settings, added)


def _begin(database: Database) -> str:
    """Be the only discovery; returns the device to listen at. Errors as of `discover_hosts`."""
    if not has_boot_service():
        raise StateError(f"the boot service was never started here: {how_to_begin(local_host(database))}")
    device = boot_network(database).device
    try:
        database.lock(LOCK, 0)
    except BusyError:
        raise BusyError(
            "another rocks discover host is running on this frontend; end that one first"
        ) from None
    sync_host_files(database)  # a killed run may have left a host without its files
    return device


def _check_all_found(settings: DiscoverySettings, added: int) -> None:
    """StateError when the time has ended before all hosts are found."""
    if settings.max_hosts is not None and added < settings.max_hosts:
        raise StateError(
            f"{added} of {settings.max_hosts} hosts were found in {settings.seconds:g} seconds: let the others boot "
            "from the network, then repeat the command"
        )


def _store(database: Database, notify: Callable[[str], None]) -> None:
    """Commit; what fails after that, as the files of the boot service, does not end the discovery."""
    try:
        database.commit()
    except RocksError as error:
        if database.has_changes:
            raise
        notify(f"Warning: the host is added, but this failed then: {error}")


def _update_names(database: Database, notify: Callable[[str], None]) -> None:
    """The name of a new host is served; a failure of that does not end the discovery of the others."""
    if has_names():
        try:
            sync_names(database)
        except RocksError as error:
            notify(f"Warning: the names of the new hosts are not written ({error}): rocks sync dns")


class _Bound:
    """How many hosts may be added within a minute."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._times: deque[float] = deque()

    def take(self) -> None:
        """Count one more host. StateError beyond the bound."""
        now = monotonic_seconds()
        while self._times and self._times[0] <= now - _MINUTE_SECONDS:
            self._times.popleft()
        if len(self._times) >= self._per_minute:
            raise StateError(
                f"more than {self._per_minute} unknown machines asked within a minute: {self._per_minute} were added, "
                "and no more. See rocks list host interface; if they are the site's own, repeat the command with "
                f"per-minute={self._per_minute * 4}"
            )
        self._times.append(now)


def _add(
    database: Database, mac: str, membership: str, settings: DiscoverySettings, bound: _Bound
) -> DiscoveredHost | None:
    """Add the host of an unknown address, not committed; None for a known one."""
    lock_inventory(database)
    if interfaces.find_mac_owner(database, mac) is not None:
        return None
    bound.take()
    name, rank = _next_name(database, settings)
    _, subnet = existing_subnet(database, PRIVATE_NETWORK)
    (address,) = next_addresses(subnet, [*interfaces.used_ips(database), *reserved_ips(database)])
    add_host(database, HostParameters(name, membership, None, str(settings.rack), str(rank)))
    add_interface(database, name, InterfaceParameters(DEVICE, address, mac, subnet=PRIVATE_NETWORK))
    set_next_boot(database, [name], INSTALL)
    write_boot_files(database, [name])
    return DiscoveredHost(name, address, mac)


@contextlib.contextmanager
def _interrupt_deferred() -> Iterator[None]:
    """SIGINT within is KeyboardInterrupt at the end of the block; an error of the block itself goes first."""
    came = False

    def remember(*_: object) -> None:
        nonlocal came
        came = True

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def _next_name(database: Database, settings: DiscoverySettings) -> tuple[str, int]:
    """The first name of the rack, from the lowest rank on, that nothing has."""
    stem = f"{settings.appliance}-{settings.rack}-"
    taken = names_beginning_with(database, stem)
    places = taken_ranks(database, settings.appliance, settings.rack)  # a renamed host keeps its place
    for rank in range(settings.rank, LAST_RANK + 1):
        if rank not in places and f"{stem}{rank}".lower() not in taken:
            return f"{stem}{rank}", rank
    raise StateError(f"no name {stem}RANK is free; give another rack=")


def _faults(database: Database, distribution: str) -> Iterator[str]:
    """Why no host of a distribution would be installed now."""
    if dnsmasq_process() is None:
        yield "no machine gets an address, since the boot service does not run: systemctl start rocks-boot"
    for fault in _installer_faults(database, distribution):
        yield f"no host can be installed yet: {fault}"


def _installer_faults(database: Database, distribution: str) -> list[str]:
    """Why hosts of a distribution cannot be installed by the roll's installer now."""
    folder = installer_folder(database, distribution, "")
    database.end_reading()
    if not (tftp_folder() / FIRST_STAGE_FOLDER / KERNEL).is_file() and not (folder / KERNEL).is_file():
        return ["rocks check site shows what is missing"]
    try:
        read_checksum(folder)
        check_is_booted(tftp_folder() / FIRST_STAGE_FOLDER, folder)
    except StateError as error:
        return [str(error)]
    return []


def _appliance(database: Database, appliance: str) -> Appliance:
    """An appliance that can be installed, with its membership. UserError for another one."""
    found = [one for one in memberships(database) if one.appliance.lower() == appliance.lower()]
    if not found:
        raise UserError(
            f'there is no appliance "{printable(appliance)}" with a membership; see rocks list appliance'
        )
    if found[0].appliance.lower() == FRONTEND_APPLIANCE:
        raise UserError(
            "a frontend is not installed by another one: it is made of the frontend's ISO, or by rocks add cluster as "
            "a virtual machine"
        )
    (record,) = load_appliances(database, [found[0].appliance])
    if not record.node:
        raise UserError(
            f"machines of the appliance {record.name} are not installed, since it has no root in the graph (see "
            "rocks list appliance): rocks add host adds one"
        )
    return record._replace(membership=found[0].name)
