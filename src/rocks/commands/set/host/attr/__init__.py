"""`rocks set host attr`"""

from rocks.actions.attributes import set_attribute
from rocks.commands._shared.attributes import AttributeSetter


class Command(AttributeSetter):
    """
    Set an attribute of hosts; it need not exist. The previous value is stored as the attribute with the suffix
    _old.

    <arg optional='1' type='string' name='host' repeat='1'>
    Hosts, by name or any other selector; default: all hosts.
    </arg>
    <arg type='string' name='attr'>
    Name of the attribute: letters, digits and . _ -, beginning with a letter or an underscore. Alternative
    form: attr=NAME.
    </arg>
    <arg type='string' name='value'>
    Value, any text. Alternative form: value=VALUE, which is required for a value of the form name=value.
    </arg>

    <example cmd='set host attr compute-0-0 managed false'>
    Set the attribute managed of one host to false.
    </example>

    <related>add host attr</related>
    <related>list host attr</related>
    <related>remove host attr</related>
    """

    scope = "host"
    apply = set_attribute
