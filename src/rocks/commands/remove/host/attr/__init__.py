"""`rocks remove host attr`"""

from rocks.commands._shared.attributes import AttributeRemoval


class Command(AttributeRemoval):
    """
    Remove an attribute of hosts, and its previous value. A missing attribute is not an error.

    <arg optional='1' type='string' name='host' repeat='1' default='all hosts'>
    Hosts, by name or any other selector.
    </arg>
    <arg type='string' name='attr'>
    Name of the attribute. Alternative form: attr=NAME.
    </arg>

    <example cmd='remove host attr compute-0-0 managed'>
    Remove the attribute managed of one host; attributes of other scopes remain.
    </example>
    <example cmd='remove host attr compute colour'>
    The attribute of all computes.
    </example>

    <related>list host attr</related>
    <related>set host attr</related>
    """

    scope = "host"
