"""Physical hosts, and the machines that they have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comet.client.hostlists import natural_key
from nucleus.mirror.columns import placeholders
from nucleus.states import NOSTATE_ERROR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.mirror.pool import Session


def unknown_machines(session: Session) -> list[tuple[str, int]]:
    """(host, how many of its machines the last poll listed without a state) of hosts with any, by name."""
    rows = session.rows(
        "SELECT physical_host, COUNT(*) FROM node WHERE state = %s AND physical_host IS NOT NULL"
        " AND gone_at IS NULL AND missing_polls = 0 GROUP BY physical_host",
        (NOSTATE_ERROR,),
    )
    return sorted(rows, key=lambda row: natural_key(row[0]))


def listed_hosts(session: Session, configured: Sequence[str]) -> list[str]:
    """The hosts that computesets get, in this order: those of the settings, then those that were added by command."""
    is_added = dict(session.rows("SELECT name, is_added FROM batch_host"))
    stated = {name.casefold() for name in configured}
    added = [name for name, is_one in is_added.items() if is_one and name.casefold() not in stated]
    return [name for name in configured if is_added.get(name, True)] + sorted(added, key=natural_key)


def machines_of_hosts(
    session: Session, hosts: Sequence[str]
) -> list[tuple[str, str, str, str | None, int | None]]:
    """(host, cluster, name, state, living computeset) of every machine that these hosts have."""
    return session.rows(
        "SELECT n.physical_host, c.name, n.name, n.state, s.computeset_id FROM node n"
        " JOIN cluster c ON c.id = n.cluster_id LEFT JOIN computeset_node s ON s.node_id = n.id AND s.active = 1"
        f" WHERE n.physical_host IN ({placeholders(hosts)}) AND n.gone_at IS NULL ORDER BY c.name, n.name",
        list(hosts),
    )
