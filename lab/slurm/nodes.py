"""Nodes of the mirror of Nucleus that do at once what they are asked to, without a site."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nucleus.mirror.pool import Pool

_STATEMENTS = (
    "UPDATE node n JOIN operation o ON o.target_node = n.id SET n.state = 'active', n.image_state = 'mapped',"
    " n.physical_host = JSON_VALUE(o.arguments, '$.host')"
    " WHERE o.state = 'queued' AND o.kind = 'start_member'",
    "UPDATE node n JOIN operation o ON o.target_node = n.id SET n.state = 'nostate', n.image_state = 'unmapped'"
    " WHERE o.state = 'queued' AND o.kind IN ('shutdown_member', 'poweroff_member')",
    "UPDATE operation SET state = 'succeeded', ended = UTC_TIMESTAMP(3) WHERE state = 'queued'",
    "UPDATE cluster SET observed_image = UTC_TIMESTAMP(3), observed_power = UTC_TIMESTAMP(3)",
)


def obey(pool: Pool) -> None:
    """Perform all operations that are queued."""
    for statement in _STATEMENTS:
        with pool.transaction() as session:
            session.execute(statement)
