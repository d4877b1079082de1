"""`rocks sync slurm`"""

import rocks.commands
from rocks.core.errors import HostError, RocksError
from rocks.inventory.host_requests import Limits, run_on_hosts
from rocks.inventory.slurm_service import RESTART_HOST, store_pending, sync_slurm


class Command(rocks.commands.Command):
    """
    Write what rocks report slurm prints to /etc/slurm/slurm.conf of this machine, and start slurmctld with it; then
    slurmd of each host, which reads the configuration from there. Run it after hosts were added or removed. Jobs go on
    meanwhile. A node that has left the database is drained first; while it has a job, the command is refused.
    A host whose slurmd was not started gets that with the next run.

    <shared names='dry-run'/>

    <example cmd='sync slurm'>
    After hosts were added.
    </example>
    <example cmd='sync slurm dry-run=yes'>
    Print what would be done.
    </example>

    <related>report slurm</related>
    <related>sync host sec_attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Write the file, and start the daemons."""
        synced = sync_slurm(self.db)
        for line in synced.left_out:
            self.notify(f"{line}; rocks set host name gives it another name")
        if synced.changed:
            self.showLine(f"{synced.path}: nodes: {len(synced.hosts)}")
        failures: dict[str, RocksError] = {}
        for result in run_on_hosts(self.db, synced.hosts, RESTART_HOST, Limits()):
            if result.state != "done" or result.exit_status != 0:
                reason = result.message or result.error_output.strip() or f"exit status {result.exit_status}"
                failures[result.host] = HostError(
                    f"slurmd was not started again ({reason}): rocks run host {result.host} 'systemctl restart slurmd'"
                )
        store_pending(synced.path, failures)
        self.endOutcomes(failures, len(synced.hosts))
