"""`rocks set os attr`"""

from rocks.actions.attributes import set_attribute
from rocks.commands._shared.attributes import AttributeSetter


class Command(AttributeSetter):
    """
    Set an attribute of operating systems; it need not exist. The previous value is stored as the attribute with
    the suffix _old.

    <arg optional='1' type='string' name='os' repeat='1'>
    Operating systems, linux or sunos; default: both.
    </arg>
    <arg type='string' name='attr'>
    Name of the attribute: letters, digits and . _ -, beginning with a letter or an underscore. Alternative
    form: attr=NAME.
    </arg>
    <arg type='string' name='value'>
    Value, any text. Alternative form: value=VALUE, which is required for a value of the form name=value.
    </arg>

    <example cmd='set os attr linux managed false'>
    Set the attribute managed of every Linux host to false.
    </example>

    <related>add os attr</related>
    <related>list os attr</related>
    <related>remove os attr</related>
    """

    scope = "os"
    apply = set_attribute
