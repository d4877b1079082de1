"""`rocks set network servedns`"""

from collections.abc import Sequence

from rocks.commands._shared.setters import NetworkSetter
from rocks.core.values import yes_or_no
from rocks.database.connection import Database
from rocks.network.networks import set_network_servedns


def set_flag(database: Database, networks: Sequence[str], value: str) -> None:
    """Store yes or no; UserError for any other value."""
    set_network_servedns(database, networks, yes_or_no("servedns", value))


class Command(NetworkSetter):
    """
    Set whether the frontend serves the names of networks.

    <shared command='set network mtu' names='network'/>
    <arg type='bool' name='servedns'>
    yes or no. Alternative form: servedns=BOOL.
    </arg>

    <example cmd='set network servedns optiputer yes'>
    Serve the names of this network's zone.
    </example>
    <example cmd='set network servedns storage no'>
    The name service does not have its names any more.
    </example>

    <related>add network</related>
    <related>list network</related>
    """

    argument = "servedns"
    apply = set_flag
