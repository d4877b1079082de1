"""`rocks report version`"""

import rocks.commands
from rocks.core.version import rocks_version_attributes


class Command(rocks.commands.Command):
    """
    Report the version of these programs. The command does not access the database.

    <param type='bool' name='major' default='no'>
    yes: only the major version.
    </param>

    <example cmd='report version major=yes'>
    The major version.
    </example>
    <example cmd='report version'>
    The whole version.
    </example>

    <related>report database</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the version."""
        name = "rocks_version_major" if self.fillFlag("major") else "rocks_version"
        self.addText(rocks_version_attributes()[name] + "\n")
