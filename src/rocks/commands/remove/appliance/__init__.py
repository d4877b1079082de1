"""`rocks remove appliance`"""

import rocks.commands
from rocks.actions.appliances import remove_appliance


class Command(rocks.commands.Command):
    """
    Remove appliances with their memberships, routes and attributes. One that a host is of stays, and so do
    all the others then. Plugins get the name of each before anything is removed.

    <arg type='string' name='appliance' repeat='1'>
    Appliances, % is a wildcard. A name that is no appliance changes nothing.
    </arg>

    <example cmd='remove appliance tile'>
    Remove one appliance.
    </example>

    <related>add appliance</related>
    <related>list appliance</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the appliances."""
        if not args:
            self.abort("must supply at least one appliance")
        remove_appliance(self.db, self.getApplianceNames(args), self.runPlugins)
