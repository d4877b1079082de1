"""`rocks add appliance`"""

import rocks.commands
from rocks.core.names import printable
from rocks.install.profile_values import DEFAULT_DISTRIBUTION
from rocks.inventory.appliances import Appliance, add_appliance


class Command(rocks.commands.Command):
    """
    Add an appliance, a type of host, and the membership that assigns hosts to it.

    <arg type='string' name='appliance'>
    Name of the appliance.
    </arg>
    <param type='string' name='membership' default='the name of the appliance with a capital first letter'>
    Name of its membership.
    </param>
    <param type='string' name='node' default='none'>
    Root node file in the graph. Hosts of an appliance without a root node cannot be installed.
    </param>
    <param type='string' name='graph' default='the graph default'>
    Folder of the graph that contains the root node.
    </param>
    <param type='bool' name='public' default='yes'>
    Whether the membership is offered for new hosts.
    </param>
    <param type='string' name='os' default='linux'>
    linux or sunos.
    </param>
    <param type='string' name='distribution' default='rocks-dist'>
    Distribution from which its hosts are installed.
    </param>

    <example cmd='add appliance tile membership="Viz Tile" node=viz-tile'>
    Hosts of membership Viz Tile are installed from the root node viz-tile.
    </example>
    <example cmd='add appliance viz membership="Viz" public=yes'>
    Nodes of a display wall, which the discovery of new hosts offers.
    </example>

    <related>list appliance</related>
    <related>remove appliance</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read the appliance; add it."""
        if len(args) != 1:
            self.abort("must supply one appliance")
        (name,) = args
        system = self.fillText("os", "linux")
        systems = self.getOSNames([system])
        if len(systems) != 1:
            self.abort(f'"os" must be linux or sunos, not "{printable(system)}"')
        appliance = Appliance(
            name,
            self.fillText("graph", ""),
            self.fillText("node", ""),
            systems[0],
            self.fillText("membership", name.capitalize()),
            self.fillText("distribution", DEFAULT_DISTRIBUTION),
            self.fillFlag("public", True),
        )
        add_appliance(self.db, appliance)
