"""`rocks help`"""

import rocks.commands
from rocks.commands._framework.listing import usage_lines


class Command(rocks.commands.Command):
    """
    List the commands whose line of `rocks list help` contains the given words; without words, all of them.

    <arg optional='1' type='string' name='command' repeat='1'>
    Words to look for.
    </arg>

    <example cmd='help host interface'>
    Everything about the interfaces of hosts.
    </example>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the matching lines."""
        wanted = " ".join(args)
        for line in usage_lines((), self.notify):
            if wanted in line:
                self.addText(line + "\n")
