"""`rocks dump host ibport`"""

import rocks.commands.dump
from rocks.network.infiniband.pkeys import guid_text
from rocks.network.infiniband.ports import read_ports


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the InfiniBand ports of hosts.

    <shared names='any-hosts'/>

    <example cmd='dump host ibport'>
    Print one shell command per line.
    </example>
    <example cmd='dump host ibport vmc-0-0'>
    One host.
    </example>

    <related>add host ibport</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per port."""
        for host, device, number, guid in read_ports(self.db, self.getHostnames(args) if args else None):
            self.dump("add", "host", "ibport", host, device, guid_text(guid), f"port={number}")
