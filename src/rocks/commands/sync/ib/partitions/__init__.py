"""`rocks sync ib partitions`"""

import rocks.commands
from rocks.actions.partitions import sync_partitions


class Command(rocks.commands.Command):
    """
    Write opensm's partitions.conf (attribute ib_partitions_file) and have opensm read it: by SIGHUP to the process that
    ib_opensm_pid_file names, or by the program ib_opensm_reload. Starting and stopping virtual machines does the same
    whenever a host becomes a member of a partition or leaves it.

    <example cmd='sync ib partitions'>
    After a partition or a port was changed, or your own lines in the file.
    </example>

    <related>report ib partitions</related>
    <related>list ib partition</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Write it and tell what it holds."""
        if args:
            self.abort(f'too many arguments: "{args[0]}"; the file is one for all clusters')
        synced = sync_partitions(self.db)
        assert synced is not None
        state = "written" if synced.changed else "as it was"
        self.addText(
            f"{synced.path}: {state}, {synced.partitions} partitions with {synced.members} ports; opensm reads it\n"
        )
