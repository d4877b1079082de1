"""`rocks remove host route`"""

from rocks.commands._shared.nouns.routes import RouteRemoval


class Command(RouteRemoval, scope="host"):
    """
    Remove the static routes of hosts: all of them, or those to an address. A missing route is not an error.

    <shared names='hosts'/>
    <param type='string' name='address' default='%' of='hostroute'>
    IPv4 address of the route; % matches any text, as in all routes of the hosts.
    </param>
    <param type='string' name='netmask' default='all'>
    Remove only routes with this netmask.
    </param>

    <example cmd='remove host route compute-0-0 address=10.2.0.0'>
    Remove the route to 10.2.0.0; routes of other scopes remain.
    </example>
    <example cmd='remove host route compute address=10.2.0.0 netmask=255.255.0.0'>
    One of several routes to this address, on all computes.
    </example>

    <related>add host route</related>
    <related>list host route</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the routes of all hosts at once."""
        self.remove(self.members(args), self.fillText("address", "%"))
