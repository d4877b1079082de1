"""`rocks report host attr`"""

import rocks.commands
from rocks.cluster.names import printable
from rocks.database.attributes import resolve_attributes
from rocks.errors import UserError


class Command(rocks.commands.Command):
    """
    Report the resolved attributes of hosts as lines of name:value, for scripts.

    <arg optional='1' type='string' name='host' repeat='1'>
    Hosts, by name or any other selector; all when none is given. With several, each line begins with the
    host.
    </arg>
    <param type='string' name='attr'>
    Only this attribute, and only its value. It is an error when a host has it not.
    </param>
    <param type='bool' name='pydict'>
    yes: all attributes as one Python dictionary a host, as rocks report script and rocks report post read it.
    </param>

    <example cmd='report host attr compute-0-0 attr=kvm'>
    Whether the host runs virtual machines.
    </example>
    <example cmd='report host attr compute-0-0 pydict=yes'>
    A dictionary for rocks report script attrs=.
    </example>

    <related>list host attr</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the attributes of each host in the wanted form."""
        (wanted,) = self.fillParams([("attr", "")])
        resolved = resolve_attributes(self.db, self.getHostnames(args))
        values = {host: {name: of.value for name, of in found.items()} for host, found in resolved.items()}
        if self.fillFlag("pydict") and not wanted:
            self.addText("\n".join(repr(attributes) for attributes in values.values()))
            return
        self.beginOutput()
        for host, attributes in values.items():
            for line in [_value(attributes, wanted)] if wanted else _lines(attributes):
                self.addOutput(host, line)
        self.endOutput(padChar="")


def _value(attributes: dict[str, str], wanted: str) -> str:
    for name, value in attributes.items():
        if name.lower() == wanted.lower():
            return value
    raise UserError(f"Attribute {printable(wanted)} does not exist; rocks list host attr shows those that do")


def _lines(attributes: dict[str, str]) -> list[str]:
    return [f"{name}:{value}" for name, value in sorted(attributes.items())]
