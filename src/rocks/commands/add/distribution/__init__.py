"""`rocks add distribution`"""

import rocks.commands
from rocks.install.rolls.distribution import add_distribution


class Command(rocks.commands.Command):
    """
    Add a distribution to the database. Its files are made by rocks create distro with dist=NAME.

    <arg type='string' name='distribution'>
    Name of the distribution, at most 32 characters. Alternative form: distribution=DISTRIBUTION.
    </arg>

    <example cmd='add distribution testing'>
    Add the distribution testing.
    </example>
    <example cmd='add distribution site-2026'>
    A second distribution, with the rolls that are then enabled in it.
    </example>

    <related>list distribution</related>
    <related>remove distribution</related>
    <related>create distro</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the distribution."""
        _, (name,) = self.requireArguments("distribution")
        add_distribution(self.db, name)
