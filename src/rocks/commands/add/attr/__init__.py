"""`rocks add attr`"""

import rocks.commands
from rocks.actions.attributes import add_attribute
from rocks.commands._shared.attributes import read_name_and_value, refuse_members


class Command(rocks.commands.Command):
    """
    Add an attribute of all hosts. It must not be there yet.

    <arg type='string' name='attr'>
    The attribute's name: letters, digits and . _ -, the first a letter or an underscore. May be given as
    attr=.
    </arg>
    <arg type='string' name='value'>
    Its value, any text. May be given as value=, which a value that itself looks like name=value needs.
    </arg>

    <example cmd='add attr managed true'>
    Give every host the attribute managed, with the value true.
    </example>

    <related>set attr</related>
    <related>list attr</related>
    <related>remove attr</related>
    """

    # The value console=ttyS0 would be lost otherwise, and a word for a member be taken for the attribute's name.
    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read members, name and value; change them."""
        members, name, value = read_name_and_value(self)
        refuse_members(members)
        add_attribute(self.db, "global", ["global"], name, value)
