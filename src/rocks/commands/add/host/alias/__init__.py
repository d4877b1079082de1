"""`rocks add host alias`"""

import rocks.commands
from rocks.actions.hosts import add_alias


class Command(rocks.commands.Command):
    """
    Give a host another name.

    <arg type='string' name='host'>
    The host, by name or any other selector of one.
    </arg>
    <arg type='string' name='name'>
    The other name, which no host has yet. May be given as name=…
    </arg>

    <example cmd='add host alias compute-0-0 c00'>
    It is also called c00.
    </example>

    <related>list host alias</related>
    <related>remove host alias</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the alias."""
        hosts, name = self.fillPositionalArgs(("name",))
        if not name:
            self.abort("must supply name")
        add_alias(self.db, self.getOneHostname(hosts), name)
