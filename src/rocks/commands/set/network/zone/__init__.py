"""`rocks set network zone`"""

from rocks.commands._shared.setters import NetworkSetter
from rocks.network.networks import set_network_zone


class Command(NetworkSetter):
    """
    Set the DNS zone of a network.

    <shared command='set network mtu' names='network'/>
    <arg type='string' name='zone'>
    DNS zone of its hosts. No two networks may have the same zone. Alternative form: zone=ZONE.
    </arg>

    <example cmd='set network zone optiputer optiputer.net'>
    Use the zone optiputer.net for the hosts of this network.
    </example>
    <example cmd='set network zone storage storage.example.net'>
    Another network.
    </example>

    <related>add network</related>
    <related>list network</related>
    """

    argument = "zone"
    apply = set_network_zone
