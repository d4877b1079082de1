"""`rocks dump appliance attr`"""

import rocks.commands.dump
from rocks.inventory.attributes.records import read_attributes


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the attributes of appliances.

    <arg optional='1' type='string' name='appliance' repeat='1' default='all'>
    Appliances; % is a wildcard.
    </arg>

    <example cmd='dump appliance attr'>
    Print one shell command per line.
    </example>
    <example cmd='dump appliance attr compute'>
    One appliance.
    </example>

    <related>add appliance attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per attribute."""
        for member, name, value in read_attributes(self.db, "appliance", self.getApplianceNames(args)):
            if value:
                self.dump_attribute("appliance", member, name, value)
