"""`rocks dump host roll`"""

import rocks.commands.dump
from rocks.install.rolls.host_rolls import list_host_rolls


class Command(rocks.commands.dump.command):
    """
    Print the commands that choose the rolls of frontends.

    <shared names='any-hosts'/>

    <example cmd='dump host roll'>
    Print one shell command per roll of a frontend.
    </example>
    <example cmd='dump host roll frontend-0-0-0'>
    One host.
    </example>

    <related>add host roll</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per roll of a frontend."""
        for roll in list_host_rolls(self.db, self.getHostnames(args)):
            values = (("version", roll.version), ("arch", roll.arch))
            given = (f"{name}={value}" for name, value in values if value)
            self.dump("add", "host", "roll", roll.host, roll.name, *given)
