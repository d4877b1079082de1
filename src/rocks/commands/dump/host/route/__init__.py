"""`rocks dump host route`"""

import rocks.commands.dump
from rocks.inventory.host_records import find_local_host
from rocks.network.route_records import read_routes


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the static routes of hosts.

    <arg optional='1' type='string' name='host' repeat='1' default='all hosts'>
    Hosts, by name or any other selector.
    </arg>

    <example cmd='dump host route'>
    Print one shell command per line.
    </example>
    <example cmd='dump host route compute-0-0'>
    One host.
    </example>

    <related>add host route</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per route."""
        local = find_local_host(self.db)
        for _, member, route in read_routes(self.db, "host", self.getHostnames(args)):
            self.dump(
                "add",
                "host",
                "route",
                "localhost" if member == local else member,
                route.network,
                route.through,
                f"netmask={route.netmask}",
            )
