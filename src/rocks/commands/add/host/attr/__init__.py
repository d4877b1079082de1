"""`rocks add host attr`"""

from rocks.commands._shared.attributes import AttributeSetter
from rocks.inventory.attributes.changes import add_attribute


class Command(AttributeSetter):
    """
    Add an attribute for hosts. The command fails if the attribute exists.

    <arg optional='1' type='string' name='host' repeat='1' default='all hosts'>
    Hosts, by name or any other selector.
    </arg>
    <arg type='string' name='attr'>
    Name of the attribute: letters, digits and . _ -, beginning with a letter or an underscore. Alternative
    form: attr=NAME.
    </arg>
    <arg type='string' name='value'>
    Value, any text. Alternative form: value=VALUE, which is required for a value of the form name=value.
    </arg>
    <param type='bool' name='force' default='no'>
    yes: the name may resemble that of an attribute that the system reads; else it is refused as mistyped.
    </param>

    <example cmd='add host attr compute-0-0 managed true'>
    Set the attribute managed of one host to true.
    </example>
    <example cmd='add host attr compute colour blue'>
    All computes, by the name of their appliance.
    </example>

    <related>set host attr</related>
    <related>list host attr</related>
    <related>remove host attr</related>
    """

    scope = "host"
    apply = add_attribute
