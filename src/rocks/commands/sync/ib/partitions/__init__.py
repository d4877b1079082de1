"""`rocks sync ib partitions`"""

import rocks.commands
from rocks.network.infiniband.partitions import sync_partitions


class Command(rocks.commands.Command):
    """
    Write opensm's partitions.conf (attribute ib_partitions_file) and make opensm reload it: by SIGHUP to the
    process in ib_opensm_pid_file, or by the program ib_opensm_reload. Starting and stopping virtual machines
    does the same when a host joins or leaves a partition.

    <shared names='dry-run'/>

    <example cmd='sync ib partitions'>
    Apply changes of partitions, of ports, or of your own lines in the file.
    </example>
    <example cmd='sync ib partitions dry-run=yes'>
    Print what would be written, and write nothing.
    </example>

    <related>report ib partitions</related>
    <related>list ib partition</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Write the file and print a summary."""
        synced = sync_partitions(self.db)
        assert synced is not None
        state = "written" if synced.changed else "unchanged"
        self.addText(
            f"{synced.path}: {state}, {synced.partitions} partitions with {synced.members} ports; opensm reloads it\n"
        )
