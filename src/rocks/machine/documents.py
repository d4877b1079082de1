"""The libvirt documents of virtual machines: from their records, and as their hosts adapt them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError, StateError, without_errors
from rocks.fleet.wire.facts import DocumentsRequest
from rocks.inventory.loaded_host_records import load_boot_actions
from rocks.machine.domain import InstallBoot, domain_lines
from rocks.network.guest_connections import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import VirtualMachine
    from rocks.machine.domain import Filter
    from rocks.machine.placement import Placement
    from rocks.network.guest_connections import Connection

    FiltersOf = Callable[[VirtualMachine], Mapping[str, Filter]]


INSTALL_FRONTEND = "install vm frontend"
PUBLIC_NETWORK = "public"


def connections_of(vm: VirtualMachine) -> list[Connection]:
    """The connection of each interface of the machine on its container; empty without a container."""
    return [] if vm.container is None else connect(vm.host.interfaces, vm.container.interfaces)


def boots_installer(vm: VirtualMachine) -> bool:
    """Whether the machine's next boot starts the installer of a virtual frontend."""
    return vm.host.install_action == INSTALL_FRONTEND and vm.host.boot_action == "install"


def describe_vms(
    database: Database,
    machines: Sequence[VirtualMachine],
    filters_of: FiltersOf,
    placements: Mapping[str, Placement] | None = None,
) -> dict[str, list[str]]:
    """Name → document, with the placement that a start has leased.

    StateError for a machine without a boot row (`rocks set host boot` makes one).
    """
    for vm in machines:
        if vm.host.boot_action is None:
            raise StateError(
                f"Host {vm.name} doesn't have a boot action; give it one: rocks set host boot {vm.name} action=os"
            )
    installs = _installs(database, machines)
    return {
        vm.name: domain_lines(
            vm, connections_of(vm), installs.get(vm.name), filters_of(vm), (placements or {}).get(vm.name)
        )
        for vm in machines
    }


def _installs(database: Database, machines: Sequence[VirtualMachine]) -> dict[str, InstallBoot]:
    """Name → how its installer starts, for virtual frontends whose next boot installs."""
    installing = [vm for vm in machines if boots_installer(vm)]
    if not installing:
        return {}
    action = load_boot_actions(database, [INSTALL_FRONTEND]).get(INSTALL_FRONTEND)
    if action is None:
        raise StateError(
            f'there is no boot action "{INSTALL_FRONTEND}"; add it with rocks add bootaction, or boot '
            f"{installing[0].name} from its disk: rocks set host boot {installing[0].name} action=os"
        )
    from rocks.network.routes import default_gateways  # late: few starts install

    gateways = default_gateways(database, [vm.name for vm in installing])
    installs = {}
    for vm in installing:
        public = next((i for i in vm.host.interfaces if (i.subnet or "").lower() == PUBLIC_NETWORK), None)
        installs[vm.name] = InstallBoot(
            action,
            ip=(public and public.ip) or "",
            netmask=(public and public.netmask) or "",
            dns=vm.host.attribute("Kickstart_PublicDNSServers").partition(",")[0].strip(),
            gateway=gateways.get(vm.name, ""),
            mac=(public and public.mac) or "",
        )
    return installs


def adapt_documents(
    database: Database, machines: Sequence[VirtualMachine], documents: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, RocksError]]:
    """Name → document as libvirt on the machine's host would get it; and errors by host.

    A document whose host does not answer, or which has none, is that of `documents`, as the database has it.
    """
    from rocks.inventory.host_requests import ask_each  # hosts are reached by heavy libraries

    adapted = dict(documents)
    failed: dict[str, RocksError] = {}
    names: dict[str, list[str]] = {}
    for vm in machines:
        if vm.container is not None:
            names.setdefault(vm.container.name, []).append(vm.name)
    requests = {
        host: DocumentsRequest(tuple(documents[name] for name in of_host)) for host, of_host in names.items()
    }
    database.commit()
    answers = ask_each(database, requests) if requests else ()
    for host, answer in without_errors(answers, failed):
        adapted.update(zip(names[host], answer.documents, strict=True))
    return adapted, failed
