"""`rocks list host attr`"""

import rocks.commands
from rocks.inventory.attributes.records import resolving_attributes


class Command(rocks.commands.Command):
    """
    List the attributes of hosts with their source: I intrinsic, G global, O operating system, A appliance, H
    host. The last of these that sets a value takes precedence.

    <shared names='any-hosts'/>

    <example cmd='list host attr compute-0-0'>
    The attributes of one host in alphabetical order.
    </example>
    <example cmd='list host attr compute-0-0 output-col=attr,value'>
    Two columns only.
    </example>

    <related>report host attr</related>
    <related>set host attr</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per attribute."""
        resolved = resolving_attributes(self.db, self.getHostnames(args))
        self.showRows(
            ("host", "attr", "value", "source"),
            lambda: (
                (host, name, found.value, found.source)
                for host, attributes in resolved()
                for name, found in sorted(attributes.items())
            ),
        )
