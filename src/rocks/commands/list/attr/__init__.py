"""`rocks list attr`"""

import rocks.commands
from rocks.inventory.attributes.records import read_attributes


class Command(rocks.commands.Command):
    """
    List the global attributes, which apply to all hosts.

    <example cmd='list attr'>
    All global attributes in alphabetical order.
    </example>

    <related>list host attr</related>
    <related>set attr</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per attribute."""
        self.beginOutput()
        for _, name, value in read_attributes(self.db, "global"):
            self.addOutput(name, value)
        self.endOutput(header=("attr", "value"), trimOwner=False)
