"""`rocks set appliance attr`"""

from rocks.actions.attributes import set_attribute
from rocks.commands._shared.attributes import AttributeSetter


class Command(AttributeSetter):
    """
    Set an attribute of appliances; it need not exist. The previous value is stored as the attribute with the
    suffix _old.

    <arg optional='0' type='string' name='appliance' repeat='1'>
    Appliances; % is a wildcard. An unknown name is ignored with a warning.
    </arg>
    <arg type='string' name='attr'>
    Name of the attribute: letters, digits and . _ -, beginning with a letter or an underscore. Alternative
    form: attr=NAME.
    </arg>
    <arg type='string' name='value'>
    Value, any text. Alternative form: value=VALUE, which is required for a value of the form name=value.
    </arg>

    <example cmd='set appliance attr compute managed false'>
    Set the attribute managed of every compute node to false.
    </example>

    <related>add appliance attr</related>
    <related>list appliance attr</related>
    <related>remove appliance attr</related>
    """

    scope = "appliance"
    apply = set_attribute
