"""`rocks list os route`"""

import rocks.commands
from rocks.network.route_records import read_routes


class Command(rocks.commands.Command):
    """
    List the static routes of operating systems.

    <arg optional='1' type='string' name='os' repeat='1' default='both'>
    Operating systems, linux or sunos.
    </arg>

    <example cmd='list os route linux'>
    The routes of one operating system, by address.
    </example>
    <example cmd='list os route'>
    All operating systems.
    </example>

    <related>add os route</related>
    <related>remove os route</related>
    <related>list host route</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per route."""
        self.beginOutput()
        for _, member, route in read_routes(self.db, "os", self.getOSNames(args)):
            self.addOutput(member, (route.network, route.netmask, route.through))
        self.endOutput(header=("os", "network", "netmask", "gateway"), trimOwner=False)
