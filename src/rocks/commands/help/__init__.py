"""`rocks help`"""

import rocks.commands
from rocks.commands._framework.listing import usage_lines


class Command(rocks.commands.Command):
    """
    List the commands whose line in rocks list help contains the given text; without arguments, list all
    commands.

    <arg optional='1' type='string' name='command' repeat='1'>
    Text to search for.
    </arg>

    <example cmd='help host interface'>
    List all commands for the interfaces of hosts.
    </example>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the matching lines."""
        text = " ".join(args)
        for line in usage_lines((), self.notify):
            if text in line:
                self.addText(line + "\n")
