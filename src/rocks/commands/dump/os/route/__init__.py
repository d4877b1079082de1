"""`rocks dump os route`"""

import rocks.commands.dump
from rocks.network.route_records import read_routes


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the static routes of operating systems.

    <arg optional='1' type='string' name='os' repeat='1' default='both'>
    Operating systems, linux or sunos.
    </arg>

    <example cmd='dump os route'>
    Print one shell command per line.
    </example>
    <example cmd='dump os route linux'>
    One operating system.
    </example>

    <related>add os route</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per route."""
        for _, member, route in read_routes(self.db, "os", self.getOSNames(args)):
            self.dump("add", "os", "route", member, route.network, route.through, f"netmask={route.netmask}")
