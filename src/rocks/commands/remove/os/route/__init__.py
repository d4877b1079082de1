"""`rocks remove os route`"""

from rocks.commands._shared.routes import RouteRemoval


class Command(RouteRemoval):
    """
    Remove the static routes to an address for all hosts of operating systems. A missing route is not an error.

    <arg type='string' name='os' repeat='1'>
    Operating systems, linux or sunos; % is a wildcard.
    </arg>
    <arg type='string' name='address' of='osroute'>
    IPv4 address of the route; % matches any text. Alternative form: address=ADDRESS.
    </arg>
    <param type='string' name='netmask' default='all'>
    Remove only routes with this netmask.
    </param>

    <example cmd='remove os route linux 10.2.0.0'>
    Remove the route to 10.2.0.0; routes of other scopes remain.
    </example>
    <example cmd='remove os route linux 10.3.0.0 netmask=255.255.0.0'>
    One of several routes to this address.
    </example>

    <related>add os route</related>
    <related>list os route</related>
    <related>list host route</related>
    """

    scope = "os"
