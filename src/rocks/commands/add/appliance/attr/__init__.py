"""`rocks add appliance attr`"""

import rocks.commands
from rocks.actions.attributes import add_attribute
from rocks.commands._shared.attributes import read_name_and_value


class Command(rocks.commands.Command):
    """
    Add an attribute of all hosts of an appliance. It must not be there yet.

    <arg optional='0' type='string' name='appliance' repeat='1'>
    Appliances, % is a wildcard. A name that is no appliance changes nothing.
    </arg>
    <arg type='string' name='attr'>
    The attribute's name: letters, digits and . _ -, the first a letter or an underscore. May be given as
    attr=.
    </arg>
    <arg type='string' name='value'>
    Its value, any text. May be given as value=, which a value that itself looks like name=value needs.
    </arg>

    <example cmd='add appliance attr compute managed true'>
    Give every compute node the attribute managed, with the value true.
    </example>

    <related>set appliance attr</related>
    <related>list appliance attr</related>
    <related>remove appliance attr</related>
    """

    # The value console=ttyS0 would be lost otherwise, and a word for a member be taken for the attribute's name.
    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read members, name and value; change them."""
        members, name, value = read_name_and_value(self)
        if not members:
            self.abort("must supply at least one appliance")
        add_attribute(self.db, "appliance", self.getApplianceNames(members), name, value)
