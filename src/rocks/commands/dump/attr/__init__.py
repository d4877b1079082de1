"""`rocks dump attr`"""

import rocks.commands.dump
from rocks.inventory.attributes.records import read_attributes


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the global attributes.

    <example cmd='dump attr'>
    Print one shell command per line.
    </example>

    <related>add attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per attribute."""
        for _, name, value in read_attributes(self.db, "global"):
            if value:
                self.dump_attribute("global", "", name, value)
