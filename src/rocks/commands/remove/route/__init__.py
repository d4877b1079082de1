"""`rocks remove route`"""

from rocks.commands._shared.routes import RouteRemoval


class Command(RouteRemoval):
    """
    Remove the static routes to an address for all hosts. A missing route is not an error.

    <arg type='string' name='address' of='route'>
    IPv4 address of the route; % matches any text. Alternative form: address=ADDRESS.
    </arg>
    <param type='string' name='netmask' default='all'>
    Remove only routes with this netmask.
    </param>

    <example cmd='remove route 10.2.0.0'>
    Remove the route to 10.2.0.0; routes of other scopes remain.
    </example>
    <example cmd='remove route 10.3.0.0 netmask=255.255.0.0'>
    One of several routes to this address.
    </example>

    <related>add route</related>
    <related>list route</related>
    <related>list host route</related>
    """

    scope = "global"
