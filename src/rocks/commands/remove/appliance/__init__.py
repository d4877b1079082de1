"""`rocks remove appliance`"""

import rocks.commands
from rocks.inventory.appliances import remove_appliance


class Command(rocks.commands.Command):
    """
    Remove appliances with their memberships, routes and attributes. If a host belongs to one of the appliances,
    nothing is removed. Plugins receive each name before the removal.

    <arg type='string' name='appliance' repeat='1'>
    Appliances; % is a wildcard.
    </arg>

    <example cmd='remove appliance tile'>
    Remove one appliance.
    </example>
    <example cmd='remove appliance tile viz'>
    Two appliances.
    </example>

    <related>add appliance</related>
    <related>list appliance</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the appliances."""
        if not args:
            self.abort("must supply at least one appliance")
        remove_appliance(self.db, self.getApplianceNames(args), self.runPlugins)
