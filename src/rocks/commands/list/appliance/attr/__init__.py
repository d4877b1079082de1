"""`rocks list appliance attr`"""

import rocks.commands
from rocks.inventory.attributes.records import read_attributes


class Command(rocks.commands.Command):
    """
    List the attributes that are set for appliances.

    <arg optional='1' type='string' name='appliance' repeat='1' default='all'>
    Appliances; % is a wildcard.
    </arg>

    <example cmd='list appliance attr compute'>
    The attributes of one appliance.
    </example>
    <example cmd='list appliance attr'>
    All appliances.
    </example>

    <related>list host attr</related>
    <related>set appliance attr</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per attribute."""
        self.beginOutput()
        for member, name, value in read_attributes(self.db, "appliance", self.getApplianceNames(args)):
            self.addOutput(member, (name, value))
        self.endOutput(header=("appliance", "attr", "value"), trimOwner=False)
