"""`rocks dump host attr`"""

import rocks.commands.dump
from rocks.inventory.attributes.records import read_attributes
from rocks.inventory.host_records import find_local_host

_NOT_DUMPED = ("os", "arch")


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the attributes of hosts, except os and arch, which are set when a host is added.

    <arg optional='1' type='string' name='host' repeat='1' default='all hosts'>
    Hosts, by name or any other selector.
    </arg>

    <example cmd='dump host attr'>
    Print one shell command per line.
    </example>
    <example cmd='dump host attr compute-0-0'>
    One host.
    </example>

    <related>add host attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per attribute."""
        local = find_local_host(self.db)
        for host, name, value in read_attributes(self.db, "host", self.getHostnames(args)):
            if value and name.lower() not in _NOT_DUMPED:
                name_of_host = "localhost" if host == local else host
                self.dump_attribute("host", name_of_host, name, value)
