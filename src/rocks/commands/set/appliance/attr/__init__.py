"""`rocks set appliance attr`"""

from rocks.commands._shared.attributes import AttributeSetter
from rocks.inventory.attributes.changes import set_attribute


class Command(AttributeSetter):
    """
    Set an attribute of appliances; it need not exist. The previous value is stored as the attribute with the
    suffix _old.

    <shared command='add appliance attr' names='appliance,attr,value'/>
    <shared command='add host attr' names='force'/>

    <example cmd='set appliance attr compute managed false'>
    Set the attribute managed of every compute node to false.
    </example>
    <example cmd='set appliance attr compute vm-container colour green'>
    Two appliances.
    </example>

    <related>add appliance attr</related>
    <related>list appliance attr</related>
    <related>remove appliance attr</related>
    """

    scope = "appliance"
    apply = set_attribute
