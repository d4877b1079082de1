"""`rocks remove host ibport`"""

import rocks.commands
from rocks.actions.infiniband_ports import remove_ports


class Command(rocks.commands.Command):
    """
    Forget InfiniBand ports of physical hosts; sync ib partitions then takes them out of all partitions.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <param type='string' name='device'>
    The ports of this adapter alone.
    </param>

    <example cmd='remove host ibport vmc-0-0 device=mlx4_1'>
    Its second adapter.
    </example>

    <related>add host ibport</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the ports."""
        (device,) = self.fillParams([("device", None)])
        remove_ports(self.db, self.getSomeHostnames(args), device)
