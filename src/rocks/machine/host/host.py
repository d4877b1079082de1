"""The machine of the agent: each driver is loaded at its first use."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Callable, List, Optional, TypeVar

from rocks.leases.host.leases import HostEpoch, Leases
from rocks.machine.host.files import ImageOwners
from rocks.machine.host.libvirt.driver import DomainDriver
from rocks.network.host.packet_filter import FilterDriver, Filters
from rocks.network.host.rules import LinkDriver
from rocks.network.host.stored_links import StoredLinks
from rocks.network.infiniband.host.pkey_rules import PkeyDriver
from rocks.network.sriov.host.guests import VfRecords
from rocks.network.sriov.host.rules import VfDriver

if TYPE_CHECKING:
    from rocks.storage.device_mapper.dm_devices import DmDevices

Driver = TypeVar("Driver")


class Host:
    """Domains, links, packet filters, VFs, InfiniBand keys and leases of one machine.

    Safe for several threads.
    """

    sysfs = Path("/sys")

    def __init__(
        self,
        state_folder: Path,
        open_domains: Optional[Callable[[], DomainDriver]] = None,
        open_links: Optional[Callable[[], LinkDriver]] = None,
        open_pkeys: Optional[Callable[[], PkeyDriver]] = None,
        open_vfs: Optional[Callable[[], VfDriver]] = None,
        open_filters: Optional[Callable[[], FilterDriver]] = None,
        open_dm_devices: Optional[Callable[[], DmDevices]] = None,
    ) -> None:
        """The arguments open the drivers; the defaults are the drivers of this machine."""
        self.state_folder = state_folder
        self.leases = Leases(state_folder)
        self.image_owners = ImageOwners(state_folder)
        self.lease_epoch = HostEpoch(state_folder)
        self.stored_links = StoredLinks(state_folder)
        self.assigned_vfs = VfRecords(state_folder)
        self.domains = _once(open_domains or _libvirt)
        """Raises HostError when libvirt does not answer."""
        self.links = _once(open_links or _netlink)
        self.vfs = _once(open_vfs or _sriov)
        self.filters = _once(open_filters or _filters)
        # these hold nothing open
        self.pkeys = open_pkeys or _adapters
        self.dm_devices = open_dm_devices or _dm_devices


def _once(open_driver: Callable[[], Driver]) -> Callable[[], Driver]:
    """Opens the driver at the first call, and returns the same one from then on."""
    lock = threading.Lock()
    opened: List[Driver] = []

    def driver() -> Driver:
        with lock:
            if not opened:
                opened.append(open_driver())
            return opened[0]

    return driver


def _libvirt() -> DomainDriver:
    from rocks.machine.host.libvirt.domains import Domains

    return Domains()


def _netlink() -> LinkDriver:
    # the netlink library takes 0.13 s to import
    from rocks.network.host.links import Links

    return Links()


def _adapters() -> PkeyDriver:
    from rocks.network.infiniband.host.pkeys import Pkeys

    return Pkeys()


def _sriov() -> VfDriver:
    from rocks.network.sriov.host.vfs import Vfs  # imports the netlink library, as above

    return Vfs()


def _filters() -> FilterDriver:
    return Filters()


def _dm_devices() -> DmDevices:
    from rocks.storage.device_mapper.dm_devices import DmDevices

    return DmDevices()
