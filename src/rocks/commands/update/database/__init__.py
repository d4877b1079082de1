"""`rocks update database`"""

import rocks.commands
from rocks.site.creation import update_database


class Command(rocks.commands.Command):
    """
    Create the cluster database, or upgrade its schema to the version that these programs require. A schema with
    data is backed up first. Repeat the command after an interruption to continue. If the schema is current, the
    command only renews the read permissions.

    <param type='bool' name='backup' default='no'>
    Whether the database is backed up even if its schema is current.
    </param>

    <example cmd='update database'>
    Print the versions before and after, and the path of the backup.
    </example>
    <example cmd='update database backup=yes'>
    The same, with a backup in any case, and the command that restores it.
    </example>

    <related>report database</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Upgrade, printing each step and the result."""
        done = update_database(self.db, self.notify, self.fillFlag("backup"))
        if done.before == done.after:
            self.addText(f"the schema already has version {done.after}\n")
        else:
            self.addText(f"the schema was upgraded from version {done.before} to {done.after}\n")
        if done.copy_path is not None:
            self.addText(f"backup: {done.copy_path}\n")
