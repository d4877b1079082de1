"""`rocks set host membership`"""

from collections.abc import Sequence

from rocks.commands._shared.setters import HostSetter
from rocks.database.connection import Database
from rocks.inventory.cluster_records import own_members
from rocks.inventory.host_records import lock_inventory
from rocks.inventory.hosts import set_membership
from rocks.network.interfaces import check_computes_are_not_left, claim_frontends_vlans


def set_and_claim(database: Database, names: Sequence[str], membership: str) -> list[str]:
    """Set the membership; returns lines as `set_membership`.

    UserError when one becomes the frontend of a virtual cluster on the VLAN of another, or leaves computes of its own.
    """
    lock_inventory(database)
    clusters = own_members(database, names)
    lines = set_membership(database, names, membership)
    check_computes_are_not_left(database, clusters, may_come_along=False)
    claim_frontends_vlans(database, names)
    return lines


class Command(HostSetter):
    """
    Change the membership of hosts. The frontend of the site stays one, that of a virtual cluster while computes are on
    its VLAN.

    <shared command='set host rack' names='host'/>
    <arg type='string' name='membership'>
    Name of the membership. Alternative form: membership=MEMBERSHIP.
    </arg>

    <example cmd='set host membership compute-0-0 "VM Container"'>
    Make the host a container of virtual machines.
    </example>
    <example cmd='set host membership compute-0-0 Compute'>
    Back to an ordinary compute.
    </example>

    <related>list host membership</related>
    """

    argument = "membership"
    apply = set_and_claim
