"""`rocks update database`"""

import rocks.commands
from rocks.actions.schema import update_database


class Command(rocks.commands.Command):
    """
    Create the cluster database, or upgrade its schema to the version that these programs need. A schema that
    holds something is copied first. Repeat it after an interruption: it continues. When nothing is to be
    done, it only renews who may read the database.

    <example cmd='update database'>
    Print the versions before and after, and where the copy lies.
    </example>

    <related>report database</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Upgrade, showing each step; print what was done."""
        done = update_database(self.db, self.notify)
        if done.before == done.after:
            self.addText(f"the schema has version {done.after} already\n")
            return
        self.addText(f"the schema was brought from version {done.before} to {done.after}\n")
        if done.copy_path is not None:
            self.addText(f"copy of what was before: {done.copy_path}\n")
