"""`rocks report ib partitions`"""

import rocks.commands
from rocks.network.infiniband.partitions import partitions_document


class Command(rocks.commands.Command):
    """
    Print opensm's partitions.conf as sync ib partitions would write it: the default partition (attribute
    ib_default_membership), one partition for each virtual cluster with running machines, with the ports of
    their hosts, and the existing lines outside the markers "# rocks: begin" and "# rocks: end".

    <example cmd='report ib partitions'>
    The whole file.
    </example>

    <related>sync ib partitions</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the file."""
        self.addText(partitions_document(self.db))
