"""`rocks set host name`"""

import rocks.commands
from rocks.actions.hosts import rename_host


class Command(rocks.commands.Command):
    """
    Give a host another name. Its attributes, interfaces and everything else stay with it.

    <arg type='string' name='host'>
    The host, by name or any other selector of one.
    </arg>
    <arg type='string' name='name'>
    The new name, without a domain. May be given as name=…
    </arg>

    <example cmd='set host name compute-0-0 node1'>
    It is called node1 from now on.
    </example>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Rename the host."""
        hosts, name = self.fillPositionalArgs(("name",))
        if not name:
            self.abort("must supply name")
        rename_host(self.db, self.getOneHostname(hosts), name)
