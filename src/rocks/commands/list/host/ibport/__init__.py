"""`rocks list host ibport`"""

import rocks.commands
from rocks.network.infiniband.pkeys import guid_text
from rocks.network.infiniband.ports import read_ports


class Command(rocks.commands.Command):
    """
    List the InfiniBand ports of physical hosts that the database contains.

    <shared names='any-hosts'/>

    <example cmd='list host ibport'>
    All ports.
    </example>
    <example cmd='list host ibport vmc-0-0'>
    One host.
    </example>

    <related>add host ibport</related>
    <related>sync host ibport</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per port."""
        ports = read_ports(self.db, self.getHostnames(args) if args else None)
        rows = ((host, device, number, guid_text(guid)) for host, device, number, guid in ports)
        self.addTable(("host", "device", "port", "guid"), rows, trimOwner=False)
