"""The base of commands on what is stored for the site, operating systems, appliances or hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rocks.commands._framework.base import Command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class ScopeCommand(Command):
    """Base of commands on one scope: global, os, appliance or host."""

    scope: ClassVar[str]

    def members(self, names: Sequence[str]) -> list[str]:
        """The members of the scope that match `names`; the global scope has one, of that name."""
        if self.scope == "global":
            return ["global"]
        expansions: dict[str, Callable[[Sequence[str]], list[str]]] = {
            "appliance": self.getApplianceNames,
            "host": self.getHostnames,
            "os": self.getOSNames,
        }
        return expansions[self.scope](names)
