"""`rocks set host interface iface`"""

from rocks.cluster.interfaces import changed_carrier_lines, read_carriers
from rocks.commands._shared.setters import OneInterfaceSetter
from rocks.network.interfaces import find_rows, set_device


class Command(OneInterfaceSetter):
    """
    Set the device of an interface that is identified by its MAC address. A line names the virtual machines that
    are connected by the interface of a physical host, and would not be at their next start.

    <shared command='set host interface ip' names='host'/>
    <arg type='string' name='mac'>
    MAC address of the interface. Alternative form: mac=MAC.
    </arg>
    <arg type='string' name='iface'>
    Device, such as eth1; NULL clears it. Alternative form: iface=IFACE.
    </arg>

    <example cmd='set host interface iface compute-0-0 00:11:22:33:44:55 eth1'>
    Name the device of this MAC address eth1.
    </example>
    <example cmd='set host interface iface compute-0-0 00:11:22:33:44:55 eth2'>
    Another name of the same interface.
    </example>

    <related>list host interface</related>
    """

    key = "mac"
    argument = "iface"
    apply = set_device

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the device, and name machines that it serves no more."""
        hosts, (mac, _) = self.requireArguments(self.key, self.argument)
        names = [self.getOneHostname(hosts)]
        ids, carriers = [row.id for row in find_rows(self.db, names, mac)], read_carriers(self.db, names)
        super().run(params, args)
        for line in changed_carrier_lines(self.db, ids, self.argument, carriers):
            self.notify(line)
