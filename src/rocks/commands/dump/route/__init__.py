"""`rocks dump route`"""

import rocks.commands.dump
from rocks.network.route_records import read_routes


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the static routes of all hosts.

    <example cmd='dump route'>
    Print one shell command per line.
    </example>

    <related>add route</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per route."""
        for _, _, route in read_routes(self.db, "global", ["global"]):
            self.dump("add", "route", route.network, route.through, f"netmask={route.netmask}")
