"""`rocks set os attr`"""

from rocks.commands._shared.attributes import AttributeSetter
from rocks.inventory.attributes.changes import set_attribute


class Command(AttributeSetter):
    """
    Set an attribute of operating systems; it need not exist. The previous value is stored as the attribute with
    the suffix _old.

    <shared command='add os attr' names='os,attr,value'/>
    <shared command='add host attr' names='force'/>

    <example cmd='set os attr linux managed false'>
    Set the attribute managed of every Linux host to false.
    </example>
    <example cmd='set os attr linux colour green'>
    An attribute of the site's own.
    </example>

    <related>add os attr</related>
    <related>list os attr</related>
    <related>remove os attr</related>
    """

    scope = "os"
    apply = set_attribute
