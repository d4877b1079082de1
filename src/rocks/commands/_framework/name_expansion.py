"""Expands names on a command line to names in the database. A mix-in of `Command`; its method names are Rocks' own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from rocks.commands._framework.arguments import besides
from rocks.core.errors import UserError
from rocks.core.names import is_like, printable
from rocks.inventory.selectors import OPERATING_SYSTEMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


READING = frozenset(("list", "report", "dump", "help"))
"""Verbs of commands that change nothing; a selector without a match gives them an empty output.

`check` is not among them: a check of no host would succeed.
"""


class NameExpansion(ABC):
    """Expands arguments to names of hosts, appliances, networks and the like; `%` is a wildcard everywhere."""

    db: Database
    from_end: tuple[str, ...]

    @property
    @abstractmethod
    def command_path(self) -> tuple[str, ...]:
        """The words of the command's name."""

    def getHostnames(self, names: Sequence[str] | None = None, managed_only: bool = False) -> list[str]:
        """Names of the hosts that match the selectors; without selectors all hosts, in the database's order.

        `managed_only` leaves out hosts whose attribute `managed` is not `true`, when no selector is given.
        UserError for an unknown name. In a command of any other verb than those of `READING` it is raised for a
        pattern, rack, appliance or SQL text without a host, too: it would do nothing and report success.
        """
        return self._hosts(names or (), managed_only)

    def _hosts(
        self, names: Sequence[str], managed_only: bool = False, attribute: str = "", is_one_host: bool = False
    ) -> list[str]:
        """An error proposes only hosts for which the attribute is true; where one host is named, no appliance."""
        from rocks.inventory import host_records

        changes = self.command_path[0] not in READING
        proposals = host_records.Proposals(attribute, is_one_host)
        try:
            return host_records.expand_selectors(self.db, names, managed_only, changes, proposals)
        except UserError as error:
            unknown = [name for name in names if f'"{name}"' in str(error)]
            first = [name for name in names[:1] if name in unknown]
            hint = self._parameter_meant(names, unknown) or self._command_meant(first)
            if not hint:
                raise
            raise UserError(f"{error}; {hint}") from None

    def _parameter_meant(self, names: Sequence[str], unknown: Sequence[str]) -> str:
        """That a name is a parameter of this command (`status yes`), or a value of one (`set host boot h install`)."""
        from rocks.commands._framework.declarations import docstring_of, taken_in_text

        taken = taken_in_text(type(self).__doc__ or "", docstring_of)
        declared = [it for it in taken if it.kind == "param"]
        parameters = [name for name in names if any(name == it.name for it in declared)]
        if parameters:
            return f'"{parameters[0]}" is a parameter here: write {parameters[0]}=VALUE'
        values = [
            f'"{name}" is a value here: write {it.name}={name}'
            for name in unknown
            for it in declared
            if name in it.values
        ]
        return next(iter(values), "")

    def _command_meant(self, names: Sequence[str]) -> str:
        """The command below this one that the first name resembles (`list host storageimg`); '' without one."""
        from rocks.commands._framework.command_index import read_index
        from rocks.core.near_names import nearest

        start = f"{' '.join(self.command_path)} "
        below = {path[len(start) :].split()[0] for path in read_index() if path.startswith(start)}
        near = nearest(names[0], below) if names else []
        return f"did you mean the command rocks {start}{near[0]}?" if near else ""

    def getNodesfromNames(self, names: Sequence[str] | None = None, managed_only: bool = False) -> list[str]:
        """Alias of `getHostnames`, for commands of other rolls."""
        return self.getHostnames(names, managed_only)

    def getOneHostname(self, names: Sequence[str], attribute: str = "") -> str:
        """The one host that matches the selectors; UserError for none or several.

        For an unknown name the error proposes hosts, those for which the attribute is true.
        """
        if not names:
            raise UserError(f"must supply one host{besides(self.from_end)}")
        found = self._hosts(names, attribute=attribute, is_one_host=True)
        if len(found) != 1:
            raise UserError(f"must supply only one host, not {len(found)}")
        return found[0]

    def getContainers(self, names: Sequence[str]) -> list[str]:
        """As `getHostnames`, for hosts that are to run virtual machines: an error proposes only those that can."""
        return self._hosts(names, attribute="kvm")

    def getOneContainer(self, names: Sequence[str]) -> str:
        """As `getContainers`, for one host."""
        return self.getOneHostname(names, "kvm")

    def getSomeHostnames(self, names: Sequence[str], value: str = "") -> list[str]:
        """The hosts that match the selectors; UserError when no selector is given.

        `value` describes the argument that was taken from the end, for that error: with one argument, either is
        missing. Without it, the error has what `splitArguments` took.
        """
        if not names:
            raise UserError(f"must supply at least one host{besides([value] if value else self.from_end)}")
        return self.getHostnames(names)

    def getOSNames(self, names: Sequence[str] | None = None) -> list[str]:
        """`linux` and `sunos`, or those that match the names; UserError `unknown os "x"`."""
        found: set[str] = set()
        for name in names or ("%",):
            matching = [system for system in OPERATING_SYSTEMS if is_like(system, name)]
            if not matching:
                raise UserError(
                    f'unknown os "{printable(name)}"; there are {" and ".join(OPERATING_SYSTEMS)}'
                )
            found.update(matching)
        return sorted(found)

    def getApplianceNames(self, names: Sequence[str] | None = None) -> list[str]:
        """Appliances; UserError for an unknown name."""
        return self._expand("appliances", names, "appliance")

    def getMembershipNames(self, names: Sequence[str] | None = None) -> list[str]:
        """Memberships; UserError for an unknown name."""
        return self._expand("memberships", names, "membership")

    def getDistributionNames(self, names: Sequence[str] | None = None) -> list[str]:
        """Distributions; UserError for an unknown name."""
        return self._expand("distributions", names, "distribution")

    def getNetworkNames(self, names: Sequence[str] | None = None) -> list[str]:
        """Networks; UserError for an unknown name."""
        return self._expand("subnets", names, "network")

    def getRollNames(self, names: Sequence[str] | None = None) -> list[str]:
        """Rolls; UserError for an unknown name."""
        return self._expand("rolls", names, "roll")

    def _expand(self, table: str, names: Sequence[str] | None, kind: str) -> list[str]:
        from rocks.inventory import host_records

        found, unknown = host_records.names_like(self.db, table, names or ())
        if unknown:
            from rocks.core.near_names import did_you_mean

            meant = did_you_mean(unknown[0], host_records.names_like(self.db, table, ())[0])
            raise UserError(
                f'unknown {kind} "{printable(unknown[0])}"; {meant}rocks list {kind} lists the known ones'
            )
        return found
