"""Stops and removes virtual machines among the hosts, before the hosts themselves."""

from collections.abc import Sequence

import rocks.commands
from rocks.commands._shared.vm_removal import remove_with_hooks
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.site.hosts import lock_hosts


class Plugin(rocks.commands.Plugin):
    """Removes the virtual machines among the hosts, with the hooks of `remove host vm`."""

    def provides(self) -> str:
        """The plugin's name."""
        return "vm"

    def precedes(self) -> list[str]:
        """Stopping a machine needs its interfaces, attributes and boot row."""
        return ["attr", "boot", "interface", "route"]

    def run_all(self, hosts: Sequence[str]) -> None:
        """Remove those of the hosts that are virtual machines; the rows of all belong to this command from here on."""
        names = which_are_vms(self.db, hosts)
        if names:
            remove_with_hooks(self.owner, names)
        lock_hosts(self.db, hosts)
