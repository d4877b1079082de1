"""`rocks list appliance route`"""

import rocks.commands
from rocks.network.route_records import read_routes


class Command(rocks.commands.Command):
    """
    List the static routes of appliances.

    <arg optional='1' type='string' name='appliance' repeat='1' default='all'>
    Appliances; % is a wildcard.
    </arg>

    <example cmd='list appliance route compute'>
    The routes of one appliance, by address.
    </example>
    <example cmd='list appliance route'>
    All appliances.
    </example>

    <related>add appliance route</related>
    <related>remove appliance route</related>
    <related>list host route</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per route."""
        self.beginOutput()
        for _, member, route in read_routes(self.db, "appliance", self.getApplianceNames(args)):
            self.addOutput(member, (route.network, route.netmask, route.through))
        self.endOutput(header=("appliance", "network", "netmask", "gateway"), trimOwner=False)
