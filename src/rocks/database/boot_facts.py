"""The facts that determine the network boots of hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.cluster.boot_plan import BootFacts
from rocks.database.attributes import resolve_attributes
from rocks.database.sets import placeholders
from rocks.database.vms import load_boot_actions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

_INSTALL = "install"


def boot_facts(database: Database, names: Sequence[str]) -> list[BootFacts]:
    """The facts for the network boots of the named hosts, a row for each of their private addresses."""
    rows = database.rows(
        "SELECT n.Name, m.Name, b.Action, n.RunAction, n.InstallAction, i.IP, i.Netmask FROM nodes n"
        " JOIN memberships m ON m.ID = n.Membership LEFT JOIN boot b ON b.Node = n.ID LEFT JOIN"
        " (SELECT x.Node, x.IP, s.netmask AS Netmask FROM networks x JOIN subnets s ON s.ID = x.Subnet"
        "  WHERE s.name = 'private' AND x.IP <> '') i ON i.Node = n.ID"
        f" WHERE n.Name IN ({placeholders(names)}) ORDER BY n.ID",
        names,
    )
    attributes = resolve_attributes(database, names)
    recipes = load_boot_actions(
        database, [str(action) for row in rows for action in row[3:5] if action] + [_INSTALL]
    )
    return [
        BootFacts(
            host=str(host),
            membership=str(membership),
            next_boot=None if action is None else str(action),
            run_action=recipes.get(str(run)),
            install_action=recipes.get(str(install)),
            default_action=recipes.get(_INSTALL),
            address=None if address is None else str(address),
            netmask=None if netmask is None else str(netmask),
            attributes={name: found.value for name, found in attributes.get(str(host), {}).items()},
        )
        for host, membership, action, run, install, address, netmask in rows
    ]
