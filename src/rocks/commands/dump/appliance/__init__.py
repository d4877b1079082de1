"""`rocks dump appliance`"""

import rocks.commands.dump
from rocks.commands._framework.arguments import bool2str
from rocks.inventory.appliances import load_appliances


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the appliances.

    <shared command='list appliance' names='appliance'/>

    <example cmd='dump appliance'>
    Print one shell command per line.
    </example>
    <example cmd='dump appliance compute'>
    One appliance.
    </example>

    <related>add appliance</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per appliance."""
        for appliance in load_appliances(self.db, self.getApplianceNames(args)):
            values = {
                "membership": appliance.membership,
                "node": appliance.node,
                "graph": appliance.graph,
                "public": bool2str(appliance.is_public),
                "os": appliance.os,
                "distribution": appliance.distribution,
            }
            arguments = (f"{name}={value}" for name, value in values.items() if value)
            self.dump("add", "appliance", appliance.name, *arguments)
