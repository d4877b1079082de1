"""`rocks dump host attr`"""

import rocks.commands.dump
from rocks.database.attributes import read_attributes
from rocks.database.hosts import find_local_host

_NOT_DUMPED = ("os", "arch")


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the hosts' own attributes, but for os and arch, which a host gets when it is
    added.

    <arg optional='1' type='string' name='host' repeat='1'>
    Hosts, by name or any other selector; all when none is given.
    </arg>

    <example cmd='dump host attr'>
    One command a line, for a shell.
    </example>

    <related>add host attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command an attribute."""
        local = find_local_host(self.db)
        for host, name, value in read_attributes(self.db, "host", self.getHostnames(args)):
            if value and name.lower() not in _NOT_DUMPED:
                shown = "localhost" if host == local else host
                self.dump("add", "host", "attr", shown, name, rocks.commands.dump.positional("value", value))
