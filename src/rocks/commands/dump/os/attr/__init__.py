"""`rocks dump os attr`"""

import rocks.commands.dump
from rocks.inventory.attributes.records import read_attributes


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the attributes of operating systems.

    <arg optional='1' type='string' name='os' repeat='1' default='both'>
    Operating systems, linux or sunos.
    </arg>

    <example cmd='dump os attr'>
    Print one shell command per line.
    </example>
    <example cmd='dump os attr linux'>
    One operating system.
    </example>

    <related>add os attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per attribute."""
        for member, name, value in read_attributes(self.db, "os", self.getOSNames(args)):
            if value:
                self.dump_attribute("os", member, name, value)
