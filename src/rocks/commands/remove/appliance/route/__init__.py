"""`rocks remove appliance route`"""

from rocks.commands._shared.routes import RouteRemoval


class Command(RouteRemoval):
    """
    Remove the static routes to an address for all hosts of appliances. A missing route is not an error.

    <arg type='string' name='appliance' repeat='1'>
    Appliances; % is a wildcard.
    </arg>
    <arg type='string' name='address' of='applianceroute'>
    IPv4 address of the route; % matches any text. Alternative form: address=ADDRESS.
    </arg>
    <param type='string' name='netmask' default='all'>
    Remove only routes with this netmask.
    </param>

    <example cmd='remove appliance route compute 10.2.0.0'>
    Remove the route to 10.2.0.0; routes of other scopes remain.
    </example>
    <example cmd='remove appliance route compute 10.3.0.0 netmask=255.255.0.0'>
    One of several routes to this address.
    </example>

    <related>add appliance route</related>
    <related>list appliance route</related>
    <related>list host route</related>
    """

    scope = "appliance"
