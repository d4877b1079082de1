"""`rocks report database`"""

import rocks.commands
from rocks.database.migrate import read_version
from rocks.database.versions import newest_version


class Command(rocks.commands.Command):
    """
    Report where the cluster database is reached, the version of its schema, and the version that these
    programs need. A schema of another version is reported as well; 0 means that there is none.

    <example cmd='report database'>
    Whether the database fits the programs.
    </example>

    <related>update database</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row."""
        settings = self.db.settings
        self.beginOutput()
        self.addOutput(
            settings.database, (settings.place, read_version(settings), newest_version(), rocks.__version__)
        )
        self.endOutput(header=("database", "place", "schema", "needed", "programs"), trimOwner=False)
