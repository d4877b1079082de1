"""`rocks dump attr`"""

import rocks.commands.dump
from rocks.database.attributes import read_attributes


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the global attributes.

    <example cmd='dump attr'>
    One command a line, for a shell.
    </example>

    <related>add attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command an attribute."""
        for _, name, value in read_attributes(self.db, "global"):
            if value:
                self.dump("add", "attr", name, rocks.commands.dump.positional("value", value))
