"""`rocks add host route`"""

from rocks.commands._shared.routes import RouteAddition


class Command(RouteAddition):
    """
    Add a static route for hosts. The command fails, and adds nothing, if one of them has the route. They take
    precedence over those of other scopes to the same address. Hosts get their routes with their profile, or by
    rocks sync host network.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <shared command='add route' names='address,gateway,netmask'/>

    <example cmd='add host route compute-0-0 10.2.0.0 10.1.1.254 netmask=255.255.0.0'>
    Reach the network 10.2.0.0/16 by the gateway 10.1.1.254.
    </example>
    <example cmd='add host route compute-0-0 224.0.0.0 private netmask=255.255.255.0'>
    Send local multicast through the device on the network private.
    </example>

    <related>list host route</related>
    <related>remove host route</related>
    """

    scope = "host"
