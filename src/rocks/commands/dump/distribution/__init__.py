"""`rocks dump distribution`"""

import rocks.commands.dump
from rocks.site.first_rows import FIRST_DISTRIBUTION


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the distributions, except the one that every site has from the beginning.

    <shared command='list distribution' names='distribution'/>

    <example cmd='dump distribution'>
    Print one shell command per line.
    </example>
    <example cmd='dump distribution rocks-dist'>
    One distribution.
    </example>

    <related>add distribution</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per distribution."""
        for name in self.getDistributionNames(args):
            if name.lower() != FIRST_DISTRIBUTION:
                self.dump("add", "distribution", name)
