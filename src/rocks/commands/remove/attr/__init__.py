"""`rocks remove attr`"""

from rocks.commands._shared.attributes import AttributeRemoval


class Command(AttributeRemoval):
    """
    Remove a global attribute, and its previous value. A missing attribute is not an error.

    <arg type='string' name='attr'>
    Name of the attribute. Alternative form: attr=NAME.
    </arg>

    <example cmd='remove attr managed'>
    Remove the global attribute managed; attributes of other scopes remain.
    </example>
    <example cmd='remove attr motd'>
    An attribute of the site's own.
    </example>

    <related>list attr</related>
    <related>set attr</related>
    """

    scope = "global"
