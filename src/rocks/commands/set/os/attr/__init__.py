"""`rocks set os attr`"""

import rocks.commands
from rocks.actions.attributes import set_attribute
from rocks.commands._shared.attributes import read_name_and_value


class Command(rocks.commands.Command):
    """
    Set an attribute of all hosts with an operating system, whether it is there or not. A value that it had is
    kept as the attribute of the same name with _old.

    <arg optional='1' type='string' name='os' repeat='1'>
    Operating systems, linux or sunos; both when none is given.
    </arg>
    <arg type='string' name='attr'>
    The attribute's name: letters, digits and . _ -, the first a letter or an underscore. May be given as
    attr=.
    </arg>
    <arg type='string' name='value'>
    Its value, any text. May be given as value=, which a value that itself looks like name=value needs.
    </arg>

    <example cmd='set os attr linux managed false'>
    Make it false for every host with Linux.
    </example>

    <related>add os attr</related>
    <related>list os attr</related>
    <related>remove os attr</related>
    """

    # The value console=ttyS0 would be lost otherwise, and a word for a member be taken for the attribute's name.
    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read members, name and value; change them."""
        members, name, value = read_name_and_value(self)
        set_attribute(self.db, "os", self.getOSNames(members), name, value)
