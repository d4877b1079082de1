"""`rocks remove attr`"""

import rocks.commands
from rocks.actions.attributes import remove_attribute
from rocks.commands._shared.attributes import read_name, refuse_members


class Command(rocks.commands.Command):
    """
    Remove an attribute of all hosts, and its old value. One that is not there is no error.

    <arg type='string' name='attr'>
    The attribute's name. May be given as attr=.
    </arg>

    <example cmd='remove attr managed'>
    Take the attribute managed from every host; attributes of other scopes stay.
    </example>

    <related>list attr</related>
    <related>set attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read members and name; remove."""
        members, name = read_name(self)
        refuse_members(members)
        remove_attribute(self.db, "global", ["global"], name)
