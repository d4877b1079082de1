"""`rocks dump`, and the base of the commands below it: they print the commands that recreate the database."""

import rocks.commands
from rocks.cluster.secret_names import is_secret
from rocks.commands._framework.plugins import BuiltinPlugin, Plugin
from rocks.commands._framework.shell_quoting import launcher, positional, quote

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
    ("roll", "dump.roll", ("host-boot",)),
)
"""(name, command that prints the part, parts that must exist before it is replayed)"""


class command(rocks.commands.Command):
    """Base of the commands below `dump`."""

    MustBeRoot = 0

    def dump(self, *arguments: str) -> None:
        """Add the line that runs `rocks` with these words, each quoted for a shell."""
        self.addText(_line((launcher(), *arguments)) + "\n")

    def dump_attribute(self, scope: str, member: str, name: str, value: str) -> None:
        """Add the line that adds an attribute, or that gives a secret to its command on standard input.

        Earlier releases stored secrets like other attributes. Where there is no command for secrets it is a comment.
        """
        of_scope = () if scope == "global" else (scope,)
        of_member = () if scope == "global" else (member,)
        if not is_secret(name):
            self.dump("add", *of_scope, "attr", *of_member, name, positional("value", value))
        elif scope in ("global", "host"):
            given = _line(
                ("printf", "%s\\n", value)
            )  # a shell's own command: no process has the value in its line
            self.addText(f"{given} | {_line((launcher(), 'set', *of_scope, 'sec_attr', *of_member, name))}\n")
        else:
            self.addText(
                f"# the secret {name} of {scope} {member} is left out: rocks set host sec_attr HOST {name}\n"
            )


def _line(arguments: tuple[str, ...]) -> str:
    return " ".join(map(quote, arguments))


class Command(command):
    """
    Print the commands that recreate the content of the cluster database: networks, appliances, hosts, virtual
    machines and the NASes of their images, attributes, boot actions and rolls. Plugins of other rolls add their
    own commands.

    <example cmd='dump'>
    Print one shell command per line.
    </example>

    <related>dump host</related>
    <related>dump host vm nas</related>
    <related>dump roll</related>
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
