"""Keeps Slurm from giving hosts that are removed to jobs."""

from collections.abc import Sequence

import rocks.commands
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.inventory.slurm_drains import drain_nodes, has_slurm


class Plugin(rocks.commands.Plugin):
    """Drains the nodes of the hosts, where the site has Slurm."""

    def provides(self) -> str:
        """The plugin's name."""
        return "slurm"

    def precedes(self) -> list[str]:
        """Which of the hosts are machines is known as long as these are not removed."""
        return ["vm"]

    def run_all(self, hosts: Sequence[str]) -> None:
        """Drain them when the removal is certain; a host that is no node of Slurm is left out."""
        if not has_slurm():
            return
        machines = {name.lower() for name in which_are_vms(self.db, hosts)}
        nodes = [host for host in hosts if host.lower() not in machines]
        self.db.after_commit(lambda: drain_nodes(nodes, "rocks remove host", self.owner.notify))
