"""`rocks remove os attr`"""

from rocks.commands._shared.attributes import AttributeRemoval


class Command(AttributeRemoval):
    """
    Remove an attribute of operating systems, and its previous value. A missing attribute is not an error.

    <arg optional='1' type='string' name='os' repeat='1' default='both'>
    Operating systems, linux or sunos.
    </arg>
    <arg type='string' name='attr'>
    Name of the attribute. Alternative form: attr=NAME.
    </arg>

    <example cmd='remove os attr linux managed'>
    Remove the attribute managed of Linux hosts; attributes of other scopes remain.
    </example>
    <example cmd='remove os attr linux colour'>
    An attribute of the site's own.
    </example>

    <related>list os attr</related>
    <related>set os attr</related>
    """

    scope = "os"
