"""`rocks add attr`"""

from rocks.commands._shared.attributes import AttributeSetter
from rocks.inventory.attributes.changes import add_attribute


class Command(AttributeSetter):
    """
    Add an attribute for all hosts. The command fails if the attribute exists.

    <arg type='string' name='attr'>
    Name of the attribute: letters, digits and . _ -, beginning with a letter or an underscore. Alternative
    form: attr=NAME.
    </arg>
    <arg type='string' name='value'>
    Value, any text. Alternative form: value=VALUE, which is required for a value of the form name=value.
    </arg>
    <shared command='add host attr' names='force'/>

    <example cmd='add attr managed true'>
    Set the attribute managed of every host to true.
    </example>
    <example cmd='add attr motd "Maintenance on Friday"'>
    A value with blanks.
    </example>

    <related>set attr</related>
    <related>list attr</related>
    <related>remove attr</related>
    """

    scope = "global"
    apply = add_attribute
