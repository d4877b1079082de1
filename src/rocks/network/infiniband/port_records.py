"""InfiniBand ports of physical hosts: rows of `ib_ports`; always in sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database.sets import among
from rocks.network.infiniband.partition_rules import Port

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def read_ports(database: Database, hosts: Sequence[str] | None = None) -> list[Port]:
    """The ports of the named hosts, or of all."""
    where, values = among("n.Name", hosts)
    rows = database.rows(
        "SELECT n.Name, i.Device, i.Port, i.GUID FROM ib_ports i JOIN nodes n ON n.ID = i.Node"
        f"{where} ORDER BY n.ID, i.Device, i.Port",
        values,
    )
    return [Port(str(host), str(device), int(number), int(guid)) for host, device, number, guid in rows]


def owners_of_guids(database: Database, guids: Sequence[int]) -> dict[int, str]:
    """GUID → host or virtual machine that has it."""
    rows = database.rows(
        "SELECT w.GUID, n.Name FROM (SELECT GUID, Node FROM ib_ports UNION ALL SELECT Port_GUID, Node FROM ib_guids"
        " UNION ALL SELECT Node_GUID, Node FROM ib_guids) w JOIN nodes n ON n.ID = w.Node"
        " WHERE w.GUID IN %s",
        [guids],
    )
    return {int(guid): str(name) for guid, name in rows}


def insert_ports(database: Database, ports: Sequence[Port]) -> None:
    """Add ports; the database has none of them yet."""
    for port in ports:
        database.execute(
            "INSERT INTO ib_ports (Node, Device, Port, GUID) SELECT ID, %s, %s, %s FROM nodes WHERE Name = %s",
            (port.device, port.number, port.guid, port.host),
        )


def delete_ports(database: Database, hosts: Sequence[str], device: str | None = None) -> None:
    """Remove the ports of a device of these hosts, or all their ports."""
    database.execute(
        "DELETE i FROM ib_ports i JOIN nodes n ON n.ID = i.Node"
        " WHERE n.Name IN %s" + (" AND i.Device = %s" if device else ""),
        [hosts, *([device] if device else [])],
    )
