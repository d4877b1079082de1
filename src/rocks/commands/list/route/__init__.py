"""`rocks list route`"""

import rocks.commands
from rocks.network.route_records import read_routes


class Command(rocks.commands.Command):
    """
    List the static routes of all hosts. Routes of operating systems, appliances and hosts are not among them.

    <example cmd='list route'>
    All global routes, by address.
    </example>

    <related>add route</related>
    <related>remove route</related>
    <related>list host route</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per route."""
        self.beginOutput()
        for _, _, route in read_routes(self.db, "global", ["global"]):
            self.addOutput(route.network, (route.netmask, route.through))
        self.endOutput(header=("network", "netmask", "gateway"), trimOwner=False)
