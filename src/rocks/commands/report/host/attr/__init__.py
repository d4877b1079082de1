"""`rocks report host attr`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import rocks.commands
from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.inventory.attributes.records import resolving_attributes

if TYPE_CHECKING:
    from rocks.inventory.attributes.rules import Resolved


class Command(rocks.commands.Command):
    """
    Report the resolved attributes of hosts as lines of name:value, for scripts.

    <arg optional='1' type='string' name='host' repeat='1' default='all hosts'>
    Hosts, by name or any other selector. For several hosts, each line begins with the host.
    </arg>
    <param type='string' name='attr' default='all attributes'>
    Report only the value of this attribute. A host without the attribute is an error.
    </param>
    <param type='bool' name='pydict' default='no'>
    yes: report all attributes as one Python dictionary per host, as rocks report script and rocks report post
    read it.
    </param>

    <example cmd='report host attr compute-0-0 attr=kvm'>
    Whether the host runs virtual machines.
    </example>
    <example cmd='report host attr compute-0-0 pydict=yes'>
    A dictionary for the parameter attrs of rocks report script.
    </example>

    <related>list host attr</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the attributes of each host in the requested form."""
        selected = self.fillText("attr", "")
        hosts = self.getHostnames(args)
        resolved = resolving_attributes(self.db, hosts)
        if self.fillFlag("pydict") and not selected:
            self.addText("\n".join(repr(_values(found)) for _, found in resolved()))
        elif selected or len(hosts) < 2:
            self.beginOutput()
            for host, found in resolved():
                values = _values(found)
                for line in [_value(values, selected)] if selected else _lines(values):
                    self.addOutput(host, line)
            self.endOutput(padChar="")
        else:
            self.showRows(
                (),
                lambda: ((host, line) for host, found in resolved() for line in _lines(_values(found))),
                "",
            )


def _values(found: dict[str, Resolved]) -> dict[str, str]:
    return {name: of.value for name, of in found.items()}


def _value(attributes: dict[str, str], selected: str) -> str:
    for name, value in attributes.items():
        if name.lower() == selected.lower():
            return value
    raise UserError(
        f"Attribute {printable(selected)} does not exist; rocks list host attr lists the existing ones"
    )


def _lines(attributes: dict[str, str]) -> list[str]:
    return [f"{name}:{value}" for name, value in sorted(attributes.items())]
