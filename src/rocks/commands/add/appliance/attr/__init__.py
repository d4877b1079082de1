"""`rocks add appliance attr`"""

from rocks.commands._shared.attributes import AttributeSetter
from rocks.inventory.attributes.changes import add_attribute


class Command(AttributeSetter):
    """
    Add an attribute for all hosts of appliances. The command fails if the attribute exists.

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
    <shared command='add host attr' names='force'/>

    <example cmd='add appliance attr compute managed true'>
    Set the attribute managed of every compute node to true.
    </example>
    <example cmd='add appliance attr compute vm-container colour blue'>
    An attribute of the site's own, for two appliances.
    </example>

    <related>set appliance attr</related>
    <related>list appliance attr</related>
    <related>remove appliance attr</related>
    """

    scope = "appliance"
    apply = add_attribute
