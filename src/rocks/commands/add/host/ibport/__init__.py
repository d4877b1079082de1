"""`rocks add host ibport`"""

import rocks.commands
from rocks.actions.infiniband_ports import add_port


class Command(rocks.commands.Command):
    """
    Tell the database of an InfiniBand port of a physical host. sync host ibport asks the hosts instead.

    <arg type='string' name='host'>
    The physical host.
    </arg>
    <arg type='string' name='device'>
    The adapter, as below /sys/class/infiniband. May be given as device=…
    </arg>
    <arg type='string' name='guid'>
    The port's GUID: 0x0002c90300a1b2c3, or 0002:c903:00a1:b2c3. May be given as guid=…
    </arg>
    <param type='int' name='port'>
    The port's number, 1 by default.
    </param>

    <example cmd='add host ibport vmc-0-0 mlx4_0 0x0002c90300a1b2c3'>
    Its first port.
    </example>

    <related>list host ibport</related>
    <related>sync host ibport</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the port."""
        hosts, device, guid = self.fillPositionalArgs(("device", "guid"))
        if not device or not guid:
            self.abort("must supply a device and a GUID")
        (number,) = self.fillParams([("port", "1")])
        add_port(self.db, self.getOneHostname(hosts), device, guid, number)
