"""`rocks set host attr`"""

from rocks.commands._shared.attributes import AttributeSetter
from rocks.inventory.attributes.changes import set_attribute


class Command(AttributeSetter):
    """
    Set an attribute of hosts; it need not exist. The previous value is stored as the attribute with the suffix
    _old.

    <shared command='add host attr' names='host,attr,value,force'/>

    <example cmd='set host attr compute-0-0 managed false'>
    Set the attribute managed of one host to false.
    </example>
    <example cmd='set host attr compute colour green'>
    All computes, by the name of their appliance.
    </example>

    <related>add host attr</related>
    <related>list host attr</related>
    <related>remove host attr</related>
    """

    scope = "host"
    apply = set_attribute
