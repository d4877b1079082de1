"""`rocks remove appliance attr`"""

import rocks.commands
from rocks.actions.attributes import remove_attribute
from rocks.commands._shared.attributes import read_name


class Command(rocks.commands.Command):
    """
    Remove an attribute of all hosts of an appliance, and its old value. One that is not there is no error.

    <arg optional='1' type='string' name='appliance' repeat='1'>
    Appliances, % is a wildcard; all when none is given. A name that is no appliance changes nothing.
    </arg>
    <arg type='string' name='attr'>
    The attribute's name. May be given as attr=.
    </arg>

    <example cmd='remove appliance attr compute managed'>
    Take the attribute managed from every compute node; attributes of other scopes stay.
    </example>

    <related>list appliance attr</related>
    <related>set appliance attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read members and name; remove."""
        members, name = read_name(self)
        remove_attribute(self.db, "appliance", self.getApplianceNames(members), name)
