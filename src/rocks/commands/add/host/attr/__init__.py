"""`rocks add host attr`"""

import rocks.commands
from rocks.actions.attributes import add_attribute
from rocks.commands._shared.attributes import read_name_and_value


class Command(rocks.commands.Command):
    """
    Add an attribute of hosts. It must not be there yet.

    <arg optional='1' type='string' name='host' repeat='1'>
    Hosts, by name or any other selector; all when none is given.
    </arg>
    <arg type='string' name='attr'>
    The attribute's name: letters, digits and . _ -, the first a letter or an underscore. May be given as
    attr=.
    </arg>
    <arg type='string' name='value'>
    Its value, any text. May be given as value=, which a value that itself looks like name=value needs.
    </arg>

    <example cmd='add host attr compute-0-0 managed true'>
    Give one host the attribute managed, with the value true.
    </example>

    <related>set host attr</related>
    <related>list host attr</related>
    <related>remove host attr</related>
    """

    # The value console=ttyS0 would be lost otherwise, and a word for a member be taken for the attribute's name.
    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read members, name and value; change them."""
        members, name, value = read_name_and_value(self)
        add_attribute(self.db, "host", self.getHostnames(members), name, value)
