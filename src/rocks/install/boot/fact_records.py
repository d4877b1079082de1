"""The facts that determine the network boots of hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.install.boot.file_rules import BootFacts
from rocks.inventory.attributes.records import resolve_attributes
from rocks.inventory.loaded_host_records import load_boot_actions
from rocks.inventory.records import is_bmc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

_INSTALL = "install"

MACS = (
    "(SELECT GROUP_CONCAT(LOWER(m.MAC) ORDER BY m.ID SEPARATOR ' ') FROM networks m WHERE m.Node = x.Node"
    " AND m.MAC <> '' AND (m.ID = x.ID OR (x.Module = 'bonding' AND m.Channel = x.Device)))"
)
"""The MAC addresses from which a machine asks on its interface x: its own, and of a bond those of its adapters."""


def boot_facts(database: Database, names: Sequence[str]) -> list[BootFacts]:
    """The facts for the network boots of the named hosts, a row for each of their private addresses."""
    rows = database.rows(
        "SELECT n.Name, m.Name, b.Action, n.RunAction, n.InstallAction, i.IP, i.Netmask, i.MACs,"
        " v.Node IS NOT NULL, COALESCE(i.Device, ''), COALESCE(i.Channel, '') FROM nodes n"
        " LEFT JOIN vm_nodes v ON v.Node = n.ID JOIN memberships m ON m.ID = n.Membership"
        " LEFT JOIN boot b ON b.Node = n.ID LEFT JOIN"
        f" (SELECT x.ID, x.Node, x.IP, IF(x.VlanID IS NULL, {MACS}, NULL) AS MACs, s.netmask AS Netmask,"
        " x.Device, x.Channel FROM networks x"
        "  JOIN subnets s ON s.ID = x.Subnet WHERE s.name = 'private' AND x.IP <> '') i ON i.Node = n.ID"
        " WHERE n.Name IN %s ORDER BY n.ID, i.ID",
        [names],
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
            macs=tuple(str(macs or "").split()),
            install_name=None if install is None else str(install),
            is_virtual=bool(is_virtual),
            is_bmc=is_bmc(str(device), str(channel)),
            attributes={name: found.value for name, found in attributes.get(str(host), {}).items()},
        )
        for host, membership, action, run, install, address, netmask, macs, is_virtual, device, channel in rows
    ]
