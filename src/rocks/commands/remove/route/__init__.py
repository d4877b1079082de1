"""`rocks remove route`"""

from rocks.commands._shared.routes import RouteRemoval


class Command(RouteRemoval):
    """
    Remove the static routes to an address for all hosts. A missing route is not an error.

    <arg type='string' name='address'>
    IPv4 address of the route; % matches any text. Alternative form: address=ADDRESS.
    </arg>
    <param type='string' name='netmask'>
    Remove only routes with this netmask; default: all.
    </param>

    <example cmd='remove route 10.2.0.0'>
    Remove the route to 10.2.0.0; routes of other scopes remain.
    </example>

    <related>add route</related>
    <related>list route</related>
    <related>list host route</related>
    """

    scope = "global"
