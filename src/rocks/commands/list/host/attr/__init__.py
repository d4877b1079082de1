"""`rocks list host attr`"""

import rocks.commands
from rocks.database.attributes import resolve_attributes


class Command(rocks.commands.Command):
    """
    List the attributes of hosts, and where each comes from: I intrinsic, G global, O operating system, A
    appliance, H the host itself. The last of these that gives a value wins.

    <arg optional='1' type='string' name='host' repeat='1'>
    Hosts, by name or any other selector; all when none is given.
    </arg>

    <example cmd='list host attr compute-0-0'>
    The attributes of one host, by name.
    </example>

    <related>report host attr</related>
    <related>set host attr</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row an attribute."""
        self.beginOutput()
        for host, attributes in resolve_attributes(self.db, self.getHostnames(args)).items():
            for name, found in sorted(attributes.items()):
                self.addOutput(host, (name, found.value, found.source))
        self.endOutput(header=("host", "attr", "value", "source"), trimOwner=False)
