"""`rocks dump`, and the base of the commands below it: they print the commands that recreate the database."""

import rocks.commands
from rocks.commands._framework.plugins import BuiltinPlugin, Plugin
from rocks.commands._framework.shell_quoting import launcher, quote

PARTS = (
    ("network", "dump.network", ()),
    ("appliance", "dump.appliance", ("network",)),
    ("appliance-attr", "dump.appliance.attr", ("appliance",)),
    ("attr", "dump.attr", ("appliance-attr",)),
    ("os-attr", "dump.os.attr", ("attr",)),
    ("host", "dump.host", ("appliance", "os-attr")),
    ("interface", "dump.host.interface", ("host", "network")),
    ("vm", "dump.host.vm", ("interface",)),
    ("vm-nas", "dump.host.vm.nas", ("vm",)),
    ("host-attr", "dump.host.attr", ("vm-nas",)),
    ("host-boot", "dump.host.boot", ("host-attr",)),
)
"""(name, command that prints the part, parts that must exist before it is replayed)"""


class command(rocks.commands.Command):
    """Base of the commands below `dump`."""

    MustBeRoot = 0

    def dump(self, *arguments: str) -> None:
        """Add the line that runs `rocks` with these words, each quoted for a shell."""
        self.addText(" ".join(quote(word) for word in (launcher(), *arguments)) + "\n")


class Command(command):
    """
    Print the commands that recreate the content of the cluster database: networks, appliances, hosts, virtual
    machines and the NASes of their images, attributes and boot actions. Plugins of other rolls add their own
    commands.

    <example cmd='dump'>
    Print one shell command per line.
    </example>

    <related>dump host</related>
    <related>dump host vm nas</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Have each plugin add its part, in order."""
        self.runPlugins()

    def builtinPlugins(self) -> list[Plugin]:
        """One plugin for each row of PARTS."""
        return [DumpPart(self, *row) for row in PARTS]


class DumpPart(BuiltinPlugin):
    """Adds the output of one command below `dump`."""

    def __init__(self, owner: Command, name: str, printed_by: str, after: tuple[str, ...]) -> None:
        super().__init__(owner, name, after)
        self._printed_by = printed_by

    def run(self) -> None:
        """Add the output of the command."""
        self.owner.addText(self.owner.command(self._printed_by))
