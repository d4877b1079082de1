"""`rocks list os attr`"""

import rocks.commands
from rocks.database.attributes import read_attributes


class Command(rocks.commands.Command):
    """
    List the attributes of all hosts of an operating system, as they were set.

    <arg optional='1' type='string' name='os' repeat='1'>
    Operating systems, linux or sunos; both when none is given.
    </arg>

    <example cmd='list os attr linux'>
    The attributes of one.
    </example>

    <related>list host attr</related>
    <related>set os attr</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row an attribute."""
        self.beginOutput()
        for member, name, value in read_attributes(self.db, "os", self.getOSNames(args)):
            self.addOutput(member, (name, value))
        self.endOutput(header=("os", "attr", "value"))
