"""The machine that the agent speaks for, each part of it loaded when first asked for."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Callable, Optional

from rocks.devices.domain_steps import DomainSteps
from rocks.devices.filter_steps import FilterSteps
from rocks.devices.function_records import FunctionRecords
from rocks.devices.function_steps import FunctionSteps
from rocks.devices.leases import Leases
from rocks.devices.link_plans import LinkPlans
from rocks.devices.link_steps import LinkSteps
from rocks.devices.pkey_steps import PkeySteps


class Host:
    """Domains, links, packet filters, virtual and InfiniBand functions, and leases of one machine.

    May serve several threads.
    """

    sysfs = Path("/sys")

    def __init__(
        self,
        state_folder: Path,
        open_domains: Optional[Callable[[], DomainSteps]] = None,
        open_links: Optional[Callable[[], LinkSteps]] = None,
        open_pkeys: Optional[Callable[[], PkeySteps]] = None,
        open_functions: Optional[Callable[[], FunctionSteps]] = None,
        open_filters: Optional[Callable[[], FilterSteps]] = None,
    ) -> None:
        """The functions open the doors to libvirt, netlink and adapters; by default those of this machine."""
        self.state_folder = state_folder
        self.leases = Leases(state_folder)
        self.link_plans = LinkPlans(state_folder)
        self.given_functions = FunctionRecords(state_folder)
        self._open_domains = open_domains or _libvirt
        self._open_links = open_links or _netlink
        self._open_pkeys = open_pkeys or _adapters
        self._open_functions = open_functions or _sriov
        self._open_filters = open_filters or _filters
        self._domains: Optional[DomainSteps] = None
        self._links: Optional[LinkSteps] = None
        self._functions: Optional[FunctionSteps] = None
        self._filters: Optional[FilterSteps] = None
        self._domains_lock = threading.Lock()
        self._links_lock = threading.Lock()

    def domains(self) -> DomainSteps:
        """The door to libvirt. HostError when libvirt does not answer."""
        with self._domains_lock:
            if self._domains is None:
                self._domains = self._open_domains()
            return self._domains

    def links(self) -> LinkSteps:
        """The door to netlink."""
        with self._links_lock:
            if self._links is None:
                self._links = self._open_links()
            return self._links

    def pkeys(self) -> PkeySteps:
        """The door to InfiniBand adapters; it keeps nothing open."""
        return self._open_pkeys()

    def functions(self) -> FunctionSteps:
        """The door to virtual functions."""
        with self._links_lock:
            if self._functions is None:
                self._functions = self._open_functions()
            return self._functions

    def filters(self) -> FilterSteps:
        """The door to packet filters."""
        with self._links_lock:
            if self._filters is None:
                self._filters = self._open_filters()
            return self._filters


def _libvirt() -> DomainSteps:
    from rocks.devices.domains import Domains

    return Domains()


def _netlink() -> LinkSteps:
    # its library takes 0.13 s to import
    from rocks.devices.links import Links

    return Links()


def _adapters() -> PkeySteps:
    from rocks.devices.pkeys import Pkeys

    return Pkeys()


def _sriov() -> FunctionSteps:
    from rocks.devices.functions import Functions  # by netlink, as above

    return Functions()


def _filters() -> FilterSteps:
    from rocks.devices.filters import Filters

    return Filters()
