"""`rocks add host`"""

import rocks.commands
from rocks.actions.hosts import add_host
from rocks.cluster.host_plan import HostParameters


class Command(rocks.commands.Command):
    """
    Add a host to the database. A name made of an appliance, a rack and a rank, such as compute-0-1, supplies
    membership, rack and rank; any other name needs them as parameters. The host has no interface yet.

    <arg type='string' name='host'>
    Name of the new host, without its domain.
    </arg>
    <param type='string' name='membership'>
    Name of its membership, as rocks list membership shows them.
    </param>
    <param type='int' name='cpus'>
    Number of CPUs, 1 by default.
    </param>
    <param type='int' name='rack'>
    Number of the rack.
    </param>
    <param type='int' name='rank'>
    Place in the rack.
    </param>
    <param type='string' name='os'>
    Operating system, linux or sunos; that of the appliance by default.
    </param>

    <example cmd='add host compute-0-1'>
    A compute node in rack 0, rank 1.
    </example>
    <example cmd='add host head membership=Frontend cpus=4 rack=0 rank=0'>
    A host whose name does not tell its place.
    </example>

    <related>add host interface</related>
    <related>remove host</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the host."""
        if len(args) != 1 or not args[0]:
            self.abort("must supply one host")
        values = self.fillParams([(name, None) for name in ("membership", "cpus", "rack", "rank", "os")])
        add_host(self.db, HostParameters(args[0], *values))
