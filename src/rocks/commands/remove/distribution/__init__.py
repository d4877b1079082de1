"""`rocks remove distribution`"""

import rocks.commands
from rocks.install.rolls.distribution import remove_distributions


class Command(rocks.commands.Command):
    """
    Remove distributions from the database, unless hosts of a membership are installed from them. Their files stay.

    <arg type='string' name='distribution' repeat='1'>
    Distributions; % is a wildcard.
    </arg>

    <example cmd='remove distribution testing'>
    Remove the distribution testing.
    </example>
    <example cmd='remove distribution testing site-2026'>
    Two distributions.
    </example>

    <related>add distribution</related>
    <related>list distribution</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the distributions."""
        if not args:
            self.abort("must supply at least one distribution")
        remove_distributions(self.db, self.getDistributionNames(args))
