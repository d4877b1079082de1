"""`rocks set attr`"""

from rocks.commands._shared.attributes import AttributeSetter
from rocks.inventory.attributes.changes import set_attribute


class Command(AttributeSetter):
    """
    Set a global attribute; it need not exist. The previous value is stored as the attribute with the suffix
    _old.

    <arg type='string' name='attr'>
    Name of the attribute: letters, digits and . _ -, beginning with a letter or an underscore. Alternative
    form: attr=NAME.
    </arg>
    <arg type='string' name='value'>
    Value, any text. Alternative form: value=VALUE, which is required for a value of the form name=value.
    </arg>
    <shared command='add host attr' names='force'/>

    <example cmd='set attr managed false'>
    Set the attribute managed of every host to false.
    </example>
    <example cmd='set attr motd "Maintenance on Monday"'>
    A value with blanks.
    </example>

    <related>add attr</related>
    <related>list attr</related>
    <related>remove attr</related>
    """

    scope = "global"
    apply = set_attribute
