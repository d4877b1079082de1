"""`rocks list appliance`"""

import rocks.commands
from rocks.inventory.appliances import load_appliances


class Command(rocks.commands.Command):
    """
    List the appliances with the graph and the root node file from which their hosts are installed.

    <arg optional='1' type='string' name='appliance' repeat='1' default='all'>
    Appliances; % is a wildcard.
    </arg>

    <example cmd='list appliance compute'>
    One appliance.
    </example>
    <example cmd='list appliance'>
    All appliances.
    </example>

    <related>add appliance</related>
    <related>list membership</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per appliance."""
        found = load_appliances(self.db, self.getApplianceNames(args))
        self.addTable(("appliance", "graph", "node"), ((one.name, one.graph, one.node) for one in found))
