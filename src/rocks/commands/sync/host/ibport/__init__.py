"""`rocks sync host ibport`"""

import rocks.commands
from rocks.core.errors import RocksError, without_errors
from rocks.network.infiniband.pkeys import guid_text
from rocks.network.infiniband.ports import record_ports


class Command(rocks.commands.Command):
    """
    Read the InfiniBand ports of physical hosts and replace those in the database. Run sync ib partitions
    afterwards to inform the subnet manager.

    <shared names='hosts,dry-run'/>

    <example cmd='sync host ibport vmc-0-0 vmc-0-1'>
    Update the ports after adapters were added or replaced.
    </example>
    <example cmd='sync host ibport vm-container'>
    All VM containers.
    </example>

    <related>list host ibport</related>
    <related>add host ibport</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read the ports and print them."""
        hosts = self.getSomeHostnames(args)
        failures: dict[str, RocksError] = {}
        for host, result in without_errors(record_ports(self.db, hosts), failures):
            ports = ", ".join(f"{port.device} port {port.number} {guid_text(port.guid)}" for port in result)
            self.addLine(f"{host}: {ports or 'no InfiniBand port'}")
        self.endOutcomes(failures, len(hosts))
