"""`rocks sync host ibport`"""

import rocks.commands
from rocks.actions.infiniband_ports import record_ports
from rocks.cluster.guids import guid_text
from rocks.errors import RocksError


class Command(rocks.commands.Command):
    """
    Ask physical hosts for their InfiniBand ports and have the database know those and no others of them. sync ib
    partitions then tells the subnet manager.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>

    <example cmd='sync host ibport vmc-0-0 vmc-0-1'>
    After adapters were put in or exchanged.
    </example>

    <related>list host ibport</related>
    <related>add host ibport</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Ask them and tell what each has."""
        hosts = self.getSomeHostnames(args)
        failures: dict[str, RocksError] = {}
        for host, result in record_ports(self.db, hosts):
            if isinstance(result, RocksError):
                failures[host] = result
                continue
            ports = ", ".join(f"{port.device} port {port.number} {guid_text(port.guid)}" for port in result)
            self.addText(f"{host}: {ports or 'no InfiniBand port'}\n")
        self.endOutcomes(failures, len(hosts))
