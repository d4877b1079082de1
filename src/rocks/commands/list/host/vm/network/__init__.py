"""`rocks list host vm network`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import rocks.commands
from rocks.commands._framework.output import write_message
from rocks.core.errors import EXIT_SOME_HOSTS_FAILED
from rocks.inventory.loaded_host_records import which_are_vms

if TYPE_CHECKING:
    from rocks.machine.listing import ConnectedInterface, VmNetworks

HEADER = (
    "vm-host",
    "iface",
    "mac",
    "vlan",
    "host",
    "link",
    "device",
    "state",
    "received",
    "sent",
    "filter",
    "dropped",
    "why",
)

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    List the network connections of virtual machines as reported by their physical hosts, which are queried in
    parallel.

    LINK is the device of the host to which the interface is attached (a shortened name is followed by the long
    one). DEVICE is the device of the interface itself. STATE is up, down, off (the machine is not running),
    unconnected (the host has no device for the interface) or unknown (no answer within 10 seconds; the exit
    status is then not 0). RECEIVED and SENT are the bytes of the guest. FILTER is on, off (attribute vm_filter)
    or missing. DROPPED is the number of frames from the guest that the host rejected; WHY counts them by
    reason.

    For a virtual function (SR-IOV), LINK is the adapter and DEVICE the PCI address. FILTER is adapter, or off
    with the option sriov-nospoofchk; traffic is not counted.

    <shared names='any-machines'/>

    <example cmd='list host vm network vm-vc1-0'>
    One machine.
    </example>
    <example cmd='list host vm network vc1'>
    The frontend of a cluster.
    </example>
    <related>list host vm</related>
    <related>report host vlan</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a row for each interface."""
        from rocks.machine.listing import list_vm_networks  # hosts are reached by heavy libraries

        networks = list_vm_networks(self.db, which_are_vms(self.db, self.getHostnames(args)))
        self.addTable(HEADER, ((one.vm, *_cells(one)) for one in networks.interfaces), trimOwner=False)
        self._report_failures(networks)

    def _report_failures(self, networks: VmNetworks) -> None:
        for host, error in networks.failed.items():
            write_message(str(error), f"Error: {host}: ")
        if networks.failed:
            all_failed = len(networks.failed) == networks.asked
            first = next(iter(networks.failed.values()))
            self.exit_status = first.exit_status if all_failed else EXIT_SOME_HOSTS_FAILED


def _cells(found: ConnectedInterface) -> tuple[object, ...]:
    fact, interface = found.fact, found.interface
    link = f"{found.link}({found.long_name})" if found.long_name else found.link
    start = (interface.device, interface.mac, interface.vlan or None, found.host, link)
    if fact is None:
        return (*start, None, found.state, None, None, None, None, None)
    why = ",".join(f"{drop.reason}={drop.frames}" for drop in fact.drops if drop.frames)
    dropped = None if fact.sent_bytes is None else sum(drop.frames for drop in fact.drops)
    return (*start, fact.device, found.state, fact.received_bytes, fact.sent_bytes, fact.filter, dropped, why)
