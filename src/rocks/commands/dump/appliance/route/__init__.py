"""`rocks dump appliance route`"""

import rocks.commands.dump
from rocks.network.route_records import read_routes


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the static routes of appliances.

    <arg optional='1' type='string' name='appliance' repeat='1' default='all'>
    Appliances; % is a wildcard.
    </arg>

    <example cmd='dump appliance route'>
    Print one shell command per line.
    </example>
    <example cmd='dump appliance route compute'>
    One appliance.
    </example>

    <related>add appliance route</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per route."""
        for _, member, route in read_routes(self.db, "appliance", self.getApplianceNames(args)):
            self.dump(
                "add", "appliance", "route", member, route.network, route.through, f"netmask={route.netmask}"
            )
