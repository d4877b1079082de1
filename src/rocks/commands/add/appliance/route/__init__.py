"""`rocks add appliance route`"""

from rocks.commands._shared.routes import RouteAddition


class Command(RouteAddition):
    """
    Add a static route for all hosts of appliances. The command fails, and adds nothing, if one of them has the
    route. Routes of hosts to the same address take precedence. Hosts get their routes with their profile, or by
    rocks sync host network.

    <arg type='string' name='appliance' repeat='1'>
    Appliances; % is a wildcard.
    </arg>
    <shared command='add route' names='address,gateway,netmask'/>

    <example cmd='add appliance route compute 10.2.0.0 10.1.1.254 netmask=255.255.0.0'>
    Reach the network 10.2.0.0/16 by the gateway 10.1.1.254.
    </example>
    <example cmd='add appliance route compute 224.0.0.0 private netmask=255.255.255.0'>
    Send local multicast through the device on the network private.
    </example>

    <related>list appliance route</related>
    <related>remove appliance route</related>
    <related>list host route</related>
    """

    scope = "appliance"
