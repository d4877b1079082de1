"""`rocks list host interface`"""

import rocks.commands
from rocks.network import interfaces

_HEADER = ("host", "subnet", "iface", "mac", "ip", "netmask", "module", "name", "vlan", "options", "channel")


class Command(rocks.commands.Command):
    """
    List the interfaces of hosts. For a VLAN that a host carries, only network, device, VLAN, options and
    channel are listed.

    <shared names='any-hosts'/>

    <example cmd='list host interface compute-0-0'>
    One host.
    </example>
    <example cmd='list host interface compute json=yes'>
    All computes, for a program.
    </example>

    <related>add host interface</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per interface."""
        found = interfaces.list_interfaces(self.db, self.getHostnames(args))
        self.addTable(_HEADER, ((row[0], *_cells(row[1:])) for row in found))


def _cells(cells: tuple[object, ...]) -> tuple[object, ...]:
    network, device, *rest = cells
    if not str(device or "").lower().startswith("vlan"):
        return cells
    return (network, device, None, None, None, None, None, *rest[5:])
