"""`rocks remove host attr`"""

import rocks.commands
from rocks.actions.attributes import remove_attribute
from rocks.commands._shared.attributes import read_name


class Command(rocks.commands.Command):
    """
    Remove an attribute of hosts, and its old value. One that is not there is no error.

    <arg optional='1' type='string' name='host' repeat='1'>
    Hosts, by name or any other selector; all when none is given.
    </arg>
    <arg type='string' name='attr'>
    The attribute's name. May be given as attr=.
    </arg>

    <example cmd='remove host attr compute-0-0 managed'>
    Take the attribute managed from one host; attributes of other scopes stay.
    </example>

    <related>list host attr</related>
    <related>set host attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read members and name; remove."""
        members, name = read_name(self)
        remove_attribute(self.db, "host", self.getHostnames(members), name)
