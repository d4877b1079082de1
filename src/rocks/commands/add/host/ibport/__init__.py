"""`rocks add host ibport`"""

import rocks.commands
from rocks.network.infiniband.ports import add_port


class Command(rocks.commands.Command):
    """
    Record an InfiniBand port of a physical host. Use sync host ibport to read the ports from the hosts instead.

    <shared names='the-physical-host'/>
    <arg type='string' name='device' of='adapter'>
    Adapter, as in /sys/class/infiniband. Alternative form: device=DEVICE.
    </arg>
    <arg type='string' name='guid'>
    GUID of the port: 0x0002c90300a1b2c3 or 0002:c903:00a1:b2c3. Alternative form: guid=GUID.
    </arg>
    <param type='int' name='port' default='1' unit='none'>
    Number of the port.
    </param>

    <example cmd='add host ibport vmc-0-0 mlx4_0 0x0002c90300a1b2c3'>
    Record the first port of the adapter.
    </example>
    <example cmd='add host ibport vmc-0-0 mlx4_0 0x0002c90300a1b2c4 port=2'>
    The second port of the same adapter.
    </example>

    <related>list host ibport</related>
    <related>sync host ibport</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the port."""
        hosts, (device, guid) = self.splitArguments(("device", "guid"))
        if not device or not guid:
            self.abort("must supply a device and a GUID")
        add_port(self.db, self.getOneHostname(hosts), device, guid, self.fillText("port", "1"))
