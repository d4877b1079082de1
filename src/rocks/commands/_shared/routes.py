"""Families of commands on static routes: each names its `scope`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.commands._shared.scopes import ScopeCommand
from rocks.core.errors import UserError
from rocks.network.route_rules import ONE_HOST

if TYPE_CHECKING:
    from collections.abc import Sequence


class RouteCommand(ScopeCommand):
    """Base of the commands that change the routes of one scope."""

    def named_members(self, names: Sequence[str]) -> list[str]:
        """The members of the scope that match `names`; UserError when none is named."""
        if self.scope != "global" and not names:
            raise UserError(f"must supply at least one {self.scope}")
        return self.members(names)


class RouteAddition(RouteCommand):
    """Base of `add … route`: members, an address and a gateway."""

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the route for all members at once."""
        from rocks.network.routes import add_route

        names, (address, gateway) = self.requireArguments("address", "gateway")
        netmask = self.fillText("netmask", ONE_HOST)
        add_route(self.db, self.scope, self.named_members(names), address, gateway, netmask)


class RouteRemoval(RouteCommand):
    """Base of `remove … route`: members and an address."""

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the route from all members at once."""
        names, (address,) = self.requireArguments("address")
        self.remove(self.named_members(names), address)

    def remove(self, members: Sequence[str], address: str) -> None:
        """Remove the routes to the address; a note on standard error when there is none."""
        from rocks.network.routes import remove_routes

        if not remove_routes(self.db, self.scope, members, address, self.fillText("netmask")):
            scope_name = "" if self.scope == "global" else f"{self.scope} "
            self.notify(f"no route to {address}: rocks list {scope_name}route shows all")
