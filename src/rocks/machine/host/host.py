"""The machine of the agent: each driver is loaded at its first use."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional

from rocks.machine.host.files.owners import ImageOwners
from rocks.machine.host.lease_epoch import LeaseEpoch
from rocks.machine.host.leases import Leases
from rocks.machine.host.libvirt.driver import DomainDriver
from rocks.network.host.driver import LinkDriver
from rocks.network.host.packet_filter.driver import FilterDriver
from rocks.network.host.plans import LinkPlans
from rocks.network.infiniband.host.driver import PkeyDriver
from rocks.network.sriov.host.driver import VfDriver
from rocks.network.sriov.host.records import VfRecords

if TYPE_CHECKING:
    from rocks.storage.device_mapper.dm_devices import DmDevices


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
        self.lease_epoch = LeaseEpoch(state_folder)
        self.link_plans = LinkPlans(state_folder)
        self.assigned_vfs = VfRecords(state_folder)
        self._open_domains = open_domains or _libvirt
        self._open_links = open_links or _netlink
        self._open_pkeys = open_pkeys or _adapters
        self._open_vfs = open_vfs or _sriov
        self._open_filters = open_filters or _filters
        self._open_dm_devices = open_dm_devices or _dm_devices
        self._domains: Optional[DomainDriver] = None
        self._links: Optional[LinkDriver] = None
        self._vfs: Optional[VfDriver] = None
        self._filters: Optional[FilterDriver] = None
        self._domains_lock = threading.Lock()
        self._links_lock = threading.Lock()

    def domains(self) -> DomainDriver:
        """The driver of domains. HostError when libvirt does not answer."""
        with self._domains_lock:
            if self._domains is None:
                self._domains = self._open_domains()
            return self._domains

    def links(self) -> LinkDriver:
        """The driver of network devices."""
        with self._links_lock:
            if self._links is None:
                self._links = self._open_links()
            return self._links

    def pkeys(self) -> PkeyDriver:
        """The driver of InfiniBand adapters; it holds nothing open."""
        return self._open_pkeys()

    def dm_devices(self) -> DmDevices:
        """The driver of device-mapper's devices; it holds nothing open."""
        return self._open_dm_devices()

    def vfs(self) -> VfDriver:
        """The driver of virtual functions."""
        with self._links_lock:
            if self._vfs is None:
                self._vfs = self._open_vfs()
            return self._vfs

    def filters(self) -> FilterDriver:
        """The driver of packet filters."""
        with self._links_lock:
            if self._filters is None:
                self._filters = self._open_filters()
            return self._filters


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
    from rocks.network.host.packet_filter.traffic_control import Filters

    return Filters()


def _dm_devices() -> DmDevices:
    from rocks.storage.device_mapper.dm_devices import DmDevices

    return DmDevices()
