"""`rocks list os attr`"""

import rocks.commands
from rocks.inventory.attributes.records import read_attributes


class Command(rocks.commands.Command):
    """
    List the attributes that are set for operating systems.

    <arg optional='1' type='string' name='os' repeat='1' default='both'>
    Operating systems, linux or sunos.
    </arg>

    <example cmd='list os attr linux'>
    The attributes of one operating system.
    </example>
    <example cmd='list os attr'>
    All operating systems.
    </example>

    <related>list host attr</related>
    <related>set os attr</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per attribute."""
        self.beginOutput()
        for member, name, value in read_attributes(self.db, "os", self.getOSNames(args)):
            self.addOutput(member, (name, value))
        self.endOutput(header=("os", "attr", "value"))
