"""Hosts as the HTTPS service finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.install.installation.rules import InstallingHost

if TYPE_CHECKING:
    from rocks.database.connection import Database


def host_at(database: Database, address: str) -> InstallingHost | None:
    """The host with the address on the network private; None when there is none or several."""
    rows = database.rows(
        "SELECT n.Name, i.MAC, b.Action FROM networks i JOIN subnets s ON s.ID = i.Subnet AND s.name = 'private'"
        " JOIN nodes n ON n.ID = i.Node LEFT JOIN boot b ON b.Node = n.ID WHERE i.IP = %s",
        [address],
    )
    if len(rows) != 1:
        return None
    name, mac, action = rows[0]
    return InstallingHost(str(name), mac, action)
