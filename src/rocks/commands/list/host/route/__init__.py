"""`rocks list host route`"""

import rocks.commands
from rocks.inventory.loaded_host_records import load_interfaces
from rocks.network.route_rules import device_on
from rocks.network.routes import routes_of_hosts


class Command(rocks.commands.Command):
    """
    List the static routes that apply to hosts, with their source: G global, O operating system, A appliance, H host.
    Of routes to the same address those of the last source apply. The gateway of a route through a network is the
    host's device on it, and empty for a host that is not on the network.

    <shared names='any-hosts'/>

    <example cmd='list host route compute-0-0'>
    The routes of one host, by address.
    </example>
    <example cmd='list host route compute'>
    All computes.
    </example>

    <related>add host route</related>
    <related>remove host route</related>
    <related>report host route</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per route."""
        self.beginOutput()
        hosts = self.getHostnames(args)
        interfaces = load_interfaces(self.db, hosts)
        for host, routes in routes_of_hosts(self.db, hosts).items():
            for route, source in routes:
                gateway = route.gateway or device_on(interfaces[host], route.subnet)
                self.addOutput(host, (route.network, route.netmask, gateway, source))
        self.endOutput(header=("host", "network", "netmask", "gateway", "source"), trimOwner=False)
