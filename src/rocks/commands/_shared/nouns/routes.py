"""The noun `route`: static routes, for each scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.commands._shared.nouns.scopes import SCOPES, ScopeCommand, ScopeDump, ScopeListing
from rocks.network.route_rules import ONE_HOST

if TYPE_CHECKING:
    from collections.abc import Sequence

_WHOM = ("all hosts", "all hosts of operating systems", "all hosts of appliances", "hosts")
_OWNERS = ("all hosts", "operating systems", "appliances", "hosts")


class RouteAddition(ScopeCommand):
    """`add … route`: members, an address and a gateway."""

    required = SCOPES[1:]
    texts = {
        "whom": _WHOM,
        "exists": ("the route exists", *("one of them has the route",) * 3),
        "precedence": (
            "Routes of operating systems, appliances and hosts to the same address take precedence.",
            "Routes of appliances and hosts to the same address take precedence.",
            "Routes of hosts to the same address take precedence.",
            "A route of a host takes precedence over routes of its appliance, its operating system and the site to the "
            "same address.",
        ),
        "resolved": (*("list host route",) * 3, ""),
    }
    help = """
    Add a static route for {whom}. The command fails, and adds nothing, if {exists}. {precedence} Hosts get their routes
    with their profile, or by rocks sync host network.

    {arguments}
    <arg type='string' name='address'>
    IPv4 address of the destination network or host. The default route has address 0.0.0.0 and
    netmask=0.0.0.0. Alternative form: address=ADDRESS.
    </arg>
    <arg type='string' name='gateway'>
    IPv4 address of the gateway, or the name of a network: then the route leads through the host's device on that
    network. Hosts that reach no such gateway leave the route out. Alternative form: gateway=GATEWAY.
    </arg>
    <param type='string' name='netmask' default='255.255.255.255'>
    Netmask of the destination: 255.255.255.255 for one host, 0.0.0.0 for the default route.
    </param>

    <example cmd='add {scope}route{member} 10.2.0.0 10.1.1.254 netmask=255.255.0.0'>
    Reach the network 10.2.0.0/16 by the gateway 10.1.1.254.
    </example>
    <example cmd='add {scope}route{member} 224.0.0.0 private netmask=255.255.255.0'>
    Send local multicast through the device on the network private.
    </example>

    <related>list {scope}route</related>
    <related>remove {scope}route</related>
    <related>{resolved}</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the route for all members at once."""
        from rocks.network.routes import add_route

        names, (address, gateway) = self.requireArguments("address", "gateway")
        netmask = self.fillText("netmask", ONE_HOST)
        if line := add_route(self.db, self.scope, self.members(names), address, gateway, netmask):
            self.notify(line)


class RouteRemoval(ScopeCommand):
    """`remove … route`: members and an address."""

    required = SCOPES[1:]
    texts = {"whom": _WHOM, "kind": ("route", "osroute", "applianceroute", "hostroute")}
    help = """
    Remove the static routes to an address for {whom}. A missing route is not an error.

    {arguments}
    <arg type='string' name='address' of='{kind}'>
    IPv4 address of the route; % matches any text. Alternative form: address=ADDRESS.
    </arg>
    <param type='string' name='netmask' default='all'>
    Remove only routes with this netmask.
    </param>

    <example cmd='remove {scope}route{member} 10.2.0.0'>
    Remove the route to 10.2.0.0; routes of other scopes remain.
    </example>
    <example cmd='remove {scope}route{member} 10.3.0.0 netmask=255.255.0.0'>
    One of several routes to this address.
    </example>

    <related>add {scope}route</related>
    <related>list {scope}route</related>
    <related>list host route</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the route from all members at once."""
        names, (address,) = self.requireArguments("address")
        self.remove(self.members(names), address)

    def remove(self, members: Sequence[str], address: str) -> None:
        """Remove the routes to the address; a note on standard error when there is none."""
        from rocks.network.routes import remove_routes

        if not remove_routes(self.db, self.scope, members, address, self.fillText("netmask")):
            self.note_missing("route", f"route to {address}", members)


class RouteListing(ScopeListing):
    """`list … route`, of what is stored for a scope."""

    header = ("network", "netmask", "gateway")
    texts = {
        "owners": _OWNERS,
        "others": (" Routes of operating systems, appliances and hosts are not among them.", "", "", ""),
        "first": (
            "",
            "The routes of one operating system, by address.",
            "The routes of one appliance, by address.",
            "",
        ),
        "all": ("All global routes, by address.", "All operating systems.", "All appliances.", ""),
    }
    help = """
    List the static routes of {owners}.{others}

    {arguments}

    <example cmd='list {scope}route{member}'>{first}</example>
    <example cmd='list {scope}route'>{all}</example>

    <related>add {scope}route</related>
    <related>remove {scope}route</related>
    <related>list host route</related>
    """

    def rows(self, members: Sequence[str]) -> Sequence[tuple[str, Sequence[str]]]:
        """The routes, by address."""
        from rocks.network.routes import read_routes

        found = read_routes(self.db, self.scope, members)
        return [(member, (route.network, route.netmask, route.through)) for _, member, route in found]


class RouteDump(ScopeDump):
    """`dump … route`."""

    texts = {"owners": _OWNERS}
    help = """
    Print the commands that add the static routes of {owners}.

    {arguments}

    <example cmd='dump {scope}route'>
    Print one shell command per line.
    </example>
    <example cmd='dump {scope}route{member}'>{one}</example>

    <related>add {scope}route</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per route."""
        from rocks.network.routes import read_routes

        of_scope = () if self.scope == "global" else (self.scope,)
        for _, member, route in read_routes(self.db, self.scope, self.members(args)):
            of_member = () if self.scope == "global" else (self.replayed(member),)
            netmask = f"netmask={route.netmask}"
            self.dump("add", *of_scope, "route", *of_member, route.network, route.through, netmask)
