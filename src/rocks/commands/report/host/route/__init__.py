"""`rocks report host route`"""

import rocks.commands
from rocks.commands._shared.file_blocks import add_file_block, report_files
from rocks.inventory.records import Host
from rocks.network.host_network_files import STATIC_ROUTES, route_files, static_routes
from rocks.network.host_network_plan import plan_network


class Command(rocks.commands.Command):
    """
    Report the files of the static routes of hosts, as text for rocks report script: static-routes for a host with RPM
    packages, and parts of the files of systemd-networkd for one with Debian packages (the attribute packaging). The
    default route is not among them; rocks report host network and rocks report host interface have it.

    <shared names='any-hosts'/>

    <example cmd='report host route compute-0-0'>
    The files of one host.
    </example>
    <example cmd='report host route compute'>
    All computes.
    </example>

    <related>list host route</related>
    <related>sync host network</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the files of each host."""
        report_files(self, args, self._add_files)

    def _add_files(self, host: Host) -> None:
        if host.attribute("packaging") == "rpm":
            add_file_block(self, host.name, STATIC_ROUTES, static_routes(host))
            return
        devices, left_out = plan_network(host)
        for one in left_out:
            self.notify(one.text)
        for path, text in route_files(devices, "deb").items():
            add_file_block(self, host.name, path, text.splitlines())
