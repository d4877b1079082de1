"""`rocks add host bonded`"""

import rocks.commands
from rocks.network.interfaces import BondParameters, add_bond


class Command(rocks.commands.Command):
    """
    Add a bond to a host: one device of several adapters, with an address. The adapters lose their own addresses and
    networks, and get the channel. Nothing is added if a value is invalid.

    <shared names='one-host'/>
    <param type='string' name='channel' optional='0'>
    Device of the bond, such as bond0.
    </param>
    <param type='string' name='interfaces' optional='0' of='iface'>
    The interfaces of the bond, separated by commas.
    </param>
    <param type='string' name='ip' optional='0'>
    IPv4 address of the bond, inside the network; it may be that of one of the interfaces.
    </param>
    <param type='string' name='network' optional='0'>
    Name of the network.
    </param>
    <param type='string' name='name' default='the name of the host'>
    Name of the host on that network.
    </param>
    <param type='string' name='options' default="the driver's own, mode balance-rr without a check of the link">
    Options of the bonding driver, separated by blanks.
    </param>

    <example cmd='add host bonded compute-0-0 channel=bond0 interfaces=eth0,eth1 ip=10.1.0.7 network=private'>
    A bond of two adapters.
    </example>
    <example cmd='add host bonded vm-container-0-0 channel=bond0 interfaces=eth2,eth3 ip=10.1.0.17 network=private options="mode=active-backup miimon=100"'>
    A bond with options of the kernel's driver.
    </example>

    <related>set host interface options</related>
    <related>list host interface</related>
    <related>report host interface</related>
    <related>sync host network</related>
    """  # noqa: E501 - the examples

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the bond."""
        host = self.getOneHostname(args)
        channel, interfaces, ip, network = (
            self.fillText(key, "") for key in ("channel", "interfaces", "ip", "network")
        )
        for name, value in (
            ("channel", channel),
            ("interfaces", interfaces),
            ("ip", ip),
            ("network", network),
        ):
            if not value:
                self.abort(f"must supply {name}=")
        members = [part.strip() for part in interfaces.split(",") if part.strip()]
        more = self.fillTexts("name", "options")
        add_bond(self.db, host, BondParameters(channel, members, ip, network, *more))
