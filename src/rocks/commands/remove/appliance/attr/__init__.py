"""`rocks remove appliance attr`"""

from rocks.commands._shared.attributes import AttributeRemoval


class Command(AttributeRemoval):
    """
    Remove an attribute of appliances, and its previous value. A missing attribute is not an error.

    <arg optional='1' type='string' name='appliance' repeat='1' default='all'>
    Appliances; % is a wildcard. An unknown name is ignored with a warning.
    </arg>
    <arg type='string' name='attr'>
    Name of the attribute. Alternative form: attr=NAME.
    </arg>

    <example cmd='remove appliance attr compute managed'>
    Remove the attribute managed of the appliance compute; attributes of other scopes remain.
    </example>
    <example cmd='remove appliance attr compute vm-container colour'>
    An attribute of two appliances.
    </example>

    <related>list appliance attr</related>
    <related>set appliance attr</related>
    """

    scope = "appliance"
