"""`rocks add appliance`"""

import rocks.commands
from rocks.actions.appliances import add_appliance
from rocks.cluster.names import printable
from rocks.database.appliances import Appliance


class Command(rocks.commands.Command):
    """
    Add an appliance, a kind of host, and the membership by which hosts are given it.

    <arg type='string' name='appliance'>
    The appliance's name.
    </arg>
    <param type='string' name='membership'>
    The name of its membership; by default the appliance's with a capital letter.
    </param>
    <param type='string' name='node'>
    The root node file of the graph. Without one its hosts cannot be installed.
    </param>
    <param type='string' name='graph'>
    The folder of the graph that the root node is in.
    </param>
    <param type='bool' name='public'>
    Whether people may choose it for a new host; yes by default.
    </param>
    <param type='string' name='os'>
    linux, the default, or sunos.
    </param>
    <param type='string' name='distribution'>
    The distribution that its hosts are installed from; rocks-dist by default.
    </param>

    <example cmd='add appliance tile membership="Viz Tile" node=viz-tile'>
    Hosts of membership Viz Tile, installed from the root node viz-tile.
    </example>

    <related>list appliance</related>
    <related>remove appliance</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read the appliance; add it."""
        if len(args) != 1:
            self.abort("must supply one appliance")
        name = args[0]
        defaults = {
            "graph": "",
            "node": "",
            "os": "linux",
            "membership": name.capitalize(),
            "distribution": "rocks-dist",
        }
        graph, node, system, membership, distribution = self.fillParams(defaults.items())
        systems = self.getOSNames([system])
        if len(systems) != 1:
            self.abort(f'"os" must be linux or sunos, not "{printable(system)}"')
        is_public = self.fillFlag("public", True)
        add_appliance(self.db, Appliance(name, graph, node, systems[0], membership, distribution, is_public))
