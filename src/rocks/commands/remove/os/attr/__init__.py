"""`rocks remove os attr`"""

import rocks.commands
from rocks.actions.attributes import remove_attribute
from rocks.commands._shared.attributes import read_name


class Command(rocks.commands.Command):
    """
    Remove an attribute of all hosts with an operating system, and its old value. One that is not there is no
    error.

    <arg optional='1' type='string' name='os' repeat='1'>
    Operating systems, linux or sunos; both when none is given.
    </arg>
    <arg type='string' name='attr'>
    The attribute's name. May be given as attr=.
    </arg>

    <example cmd='remove os attr linux managed'>
    Take the attribute managed from every host with Linux; attributes of other scopes stay.
    </example>

    <related>list os attr</related>
    <related>set os attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read members and name; remove."""
        members, name = read_name(self)
        remove_attribute(self.db, "os", self.getOSNames(members), name)
