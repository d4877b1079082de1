"""Addresses that may belong to no host of the site: routers, name servers, BMCs, controllers of Slurm."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

SOURCES: tuple[tuple[str, str], ...] = (
    (
        "Value",
        "attributes WHERE Attr IN ('Kickstart_PrivateGateway', 'Kickstart_PublicGateway',"
        " 'Kickstart_PrivateDNSServers', 'Kickstart_PublicDNSServers', 'ipmi_address', 'slurm_server')",
    ),
    *(
        ("Gateway", f"{table} WHERE Gateway <> ''")
        for table in ("global_routes", "os_routes", "appliance_routes", "node_routes")
    ),
)
"""(column, FROM clause); a value may be a list of addresses."""


def reserved_ips(database: Database) -> list[str]:
    """Addresses that are not chosen for a new interface though no interface has them.

    Values that are not addresses are returned, too. A command may still name one of them.
    """
    rows = database.rows(" UNION ALL ".join(f"SELECT {column} FROM {source}" for column, source in SOURCES))
    return split_addresses([str(row[0]) for row in rows])


def split_addresses(texts: Sequence[str]) -> list[str]:
    """What lists of addresses name."""
    return [address for text in texts for address in text.replace(",", " ").split()]
