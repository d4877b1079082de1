"""`rocks dump`, and what the commands below it have in common: they print the commands that make what is there."""

import rocks.commands
from rocks.commands._framework.shell_quoting import INSTALLED_LAUNCHER, launcher, positional, quote

__all__ = ["INSTALLED_LAUNCHER", "command", "launcher", "positional", "quote"]


class command(rocks.commands.Command):
    """Base of the commands below `dump`."""

    MustBeRoot = 0

    def dump(self, *words: str) -> None:
        """Add the line that runs `rocks` with these words, each quoted for a shell."""
        self.addText(" ".join(quote(word) for word in (launcher(), *words)) + "\n")


class Command(command):
    """
    Print the commands that make what the cluster database holds: networks, appliances, hosts, virtual machines and
    the NASes of their images, attributes, boot actions. Other rolls take part by plugins.

    <example cmd='dump'>
    One command a line, for a shell.
    </example>

    <related>dump host</related>
    <related>dump host vm nas</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Have each plugin add its part, in order."""
        self.runPlugins()


class DumpPart(rocks.commands.Plugin):
    """Base of the plugins of `dump`: `part` is the command that prints it, `after` what must have been made before."""

    part = ""
    after: tuple[str, ...] = ()

    def requires(self) -> list[str]:
        """As `after` says."""
        return list(self.after)

    def run(self) -> None:
        """Add what the command prints."""
        self.owner.addText(self.owner.command(self.part))
