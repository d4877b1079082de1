"""`rocks add host`"""

import rocks.commands
from rocks.inventory.hosts import add_host, shared_place_lines
from rocks.inventory.new_host_parameters import HostParameters


class Command(rocks.commands.Command):
    """
    Add a host to the database. A name of the form APPLIANCE-RACK-RANK, such as compute-0-1, supplies
    membership, rack and rank; other names require them as parameters. The host has no interface at first.

    <arg type='string' name='host'>
    Name of the new host, without a domain.
    </arg>
    <param type='string' name='membership' default='that of the appliance in a name such as compute-0-1'>
    Name of its membership, as in rocks list membership. Required for another name.
    </param>
    <param type='int' name='cpus' default='1' unit='CPUs'>
    Number of CPUs, 1 to 4096.
    </param>
    <param type='int' name='rack' default='as in a name such as compute-0-1' unit='none'>
    Number of the rack. Required for another name.
    </param>
    <param type='int' name='rank' default='as in a name such as compute-0-1' unit='none'>
    Position in the rack. Required for another name.
    </param>
    <param type='string' name='os' default='that of the appliance'>
    Operating system, linux or sunos.
    </param>
    <param type='bool' name='shared-place' default='no'>
    yes: print no line when another host of the appliance has the same rack and rank, as virtual machines have.
    </param>

    <example cmd='add host compute-0-1'>
    Add a compute node in rack 0 with rank 1.
    </example>
    <example cmd='add host head membership=Frontend cpus=4 rack=0 rank=0'>
    Add a host whose name does not contain its rack and rank.
    </example>

    <related>add host interface</related>
    <related>remove host</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the host."""
        if len(args) != 1 or not args[0]:
            self.abort("must supply one host")
        values = self.fillTexts("membership", "cpus", "rack", "rank", "os")
        host = add_host(self.db, HostParameters(args[0], *values))
        if not self.fillFlag("shared-place"):
            for line in shared_place_lines(self.db, [host.name]):
                self.notify(line)
