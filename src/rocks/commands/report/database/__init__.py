"""`rocks report database`"""

import rocks.commands
from rocks.database.migrate import read_version
from rocks.database.versions import newest_version


class Command(rocks.commands.Command):
    """
    Report the address of the cluster database, the version of its schema, and the version that these programs
    require. The schema version is 0 if there is no schema.

    <example cmd='report database'>
    Check whether the schema matches the programs.
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
