"""`rocks list distribution`"""

import rocks.commands


class Command(rocks.commands.Command):
    """
    List the distributions from which hosts are installed.

    <arg optional='1' type='string' name='distribution' repeat='1' default='all'>
    Distributions; % is a wildcard.
    </arg>

    <example cmd='list distribution'>
    All distributions.
    </example>
    <example cmd='list distribution rocks-dist'>
    One distribution.
    </example>

    <related>list membership</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per distribution."""
        self.addTable(("name",), ((name,) for name in self.getDistributionNames(args)), trimOwner=False)
