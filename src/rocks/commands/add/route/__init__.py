"""`rocks add route`"""

from rocks.commands._shared.routes import RouteAddition


class Command(RouteAddition):
    """
    Add a static route for all hosts. The command fails, and adds nothing, if the route exists. Routes of
    operating systems, appliances and hosts to the same address take precedence. Hosts get their routes with
    their profile, or by rocks sync host network.

    <arg type='string' name='address'>
    IPv4 address of the network or host that the route leads to; 0.0.0.0 for all addresses without another
    route. Alternative form: address=ADDRESS.
    </arg>
    <arg type='string' name='gateway'>
    IPv4 address of the gateway, or the name of a network: then the route leads through the host's device on that
    network. Alternative form: gateway=GATEWAY.
    </arg>
    <param type='string' name='netmask' default='255.255.255.255'>
    Netmask of the address: 255.255.255.255 is a route to one host, 0.0.0.0 that of all other addresses.
    </param>

    <example cmd='add route 10.2.0.0 10.1.1.254 netmask=255.255.0.0'>
    Reach the network 10.2.0.0/16 by the gateway 10.1.1.254.
    </example>
    <example cmd='add route 224.0.0.0 private netmask=255.255.255.0'>
    Send local multicast through the device on the network private.
    </example>

    <related>list route</related>
    <related>remove route</related>
    <related>list host route</related>
    """

    scope = "global"
