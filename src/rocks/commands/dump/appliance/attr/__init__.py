"""`rocks dump appliance attr`"""

import rocks.commands.dump
from rocks.database.attributes import read_attributes


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the attributes of appliances.

    <arg optional='1' type='string' name='appliance' repeat='1'>
    Appliances, % is a wildcard; all when none is given.
    </arg>

    <example cmd='dump appliance attr'>
    One command a line, for a shell.
    </example>

    <related>add appliance attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command an attribute."""
        for member, name, value in read_attributes(self.db, "appliance", self.getApplianceNames(args)):
            if value:
                self.dump(
                    "add", "appliance", "attr", member, name, rocks.commands.dump.positional("value", value)
                )
