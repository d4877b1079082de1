"""`rocks add os attr`"""

from rocks.commands._shared.attributes import AttributeSetter
from rocks.inventory.attributes.changes import add_attribute


class Command(AttributeSetter):
    """
    Add an attribute for all hosts with an operating system. The command fails if the attribute exists.

    <arg optional='1' type='string' name='os' repeat='1' default='both'>
    Operating systems, linux or sunos.
    </arg>
    <arg type='string' name='attr'>
    Name of the attribute: letters, digits and . _ -, beginning with a letter or an underscore. Alternative
    form: attr=NAME.
    </arg>
    <arg type='string' name='value'>
    Value, any text. Alternative form: value=VALUE, which is required for a value of the form name=value.
    </arg>
    <shared command='add host attr' names='force'/>

    <example cmd='add os attr linux managed true'>
    Set the attribute managed of every Linux host to true.
    </example>
    <example cmd='add os attr linux sunos colour blue'>
    Two operating systems.
    </example>

    <related>set os attr</related>
    <related>list os attr</related>
    <related>remove os attr</related>
    """

    scope = "os"
    apply = add_attribute
