"""`rocks remove host ibport`"""

import rocks.commands
from rocks.network.infiniband.ports import remove_ports


class Command(rocks.commands.Command):
    """
    Remove InfiniBand ports of physical hosts from the database; sync ib partitions then removes them from all
    partitions.

    <shared names='hosts'/>
    <param type='string' name='device' default='all adapters' of='adapter'>
    Only the ports of this adapter.
    </param>

    <example cmd='remove host ibport vmc-0-0 device=mlx4_1'>
    Remove the ports of the second adapter.
    </example>
    <example cmd='remove host ibport vmc-0-0'>
    All ports of a host.
    </example>

    <related>add host ibport</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the ports."""
        remove_ports(self.db, self.getSomeHostnames(args), self.fillText("device"))
