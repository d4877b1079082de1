"""`rocks remove host`"""

from collections.abc import Sequence

import rocks.commands
from rocks.commands._framework.plugins import TAIL, BuiltinPlugin, Plugin
from rocks.commands._shared.host_hooks import removal_hooks
from rocks.commands._shared.interrupt import LOOK_AT_LEASES
from rocks.leases.lease import fences_of_hosts
from rocks.site.hosts import remove_hosts, remove_part

PARTS = {
    "alias": ("vm",),
    "attr": ("vm",),
    "boot": ("vm",),
    "bootflags": ("vm",),
    "interface": ("vm", "boot"),
    "key": ("vm",),
    "node_rolls": ("vm",),
    "partition": ("vm",),
    "route": ("vm",),
    "node": (TAIL,),
}
"""Data of hosts in the database → the hooks that must run before its removal. `vm` stops virtual machines."""


class Command(rocks.commands.Command):
    """
    Remove hosts from the database, with all data about them. Plugins of other rolls take part.

    Nothing is removed while one of the hosts is the frontend of the site or of a virtual cluster (see remove
    cluster), the container of a virtual machine that stays, or the NAS of a disk of one.

    <shared names='hosts,dry-run'/>

    <example cmd='remove host compute-0-1'>
    One host.
    </example>
    <example cmd='remove host rack3'>
    All hosts of a rack.
    </example>

    <related>add host</related>
    <related>remove cluster</related>
    """

    AdviceAfterInterrupt = LOOK_AT_LEASES

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Run the hooks; the last one removes the hosts themselves."""
        hosts = self.getSomeHostnames(args)
        remove_hosts(self.db, hosts, removal_hooks(self))
        for host in fences_of_hosts(self.db, hosts):
            self.notify(
                f"the fences of {host} stay, in case it is added again; if it never returns: "
                f"rocks remove host vm fence {host}"
            )

    def builtinPlugins(self) -> list[Plugin]:
        """One plugin for each row of PARTS."""
        return [DatabasePart(self, *row) for row in PARTS.items()]


class DatabasePart(BuiltinPlugin):
    """Removes one kind of data of hosts from the database."""

    def run_all(self, hosts: Sequence[str]) -> None:
        """Remove the data of all these hosts at once."""
        remove_part(self.db, hosts, self.provides())


class HostPart(rocks.commands.Plugin):
    """Base of the hooks that do more for all hosts at once, after their virtual machines have been removed."""

    def requires(self) -> list[str]:
        """After the hook that stops virtual machines."""
        return ["vm"]
