"""Tickets of consoles: each opens one console of one node once. Only their hashes are stored."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from nucleus.mirror.pool import Session

TICKET_SECONDS = 30
"""How long a ticket waits for its WebSocket (specification of Nucleus, §6.1)."""

is_ticket = re.compile(r"[A-Za-z0-9_-]{43}").fullmatch
"""Whether a text has the form of a ticket: of another one the database need not be asked."""

_RETENTION_HOURS = 1
"""Pages that are loaded again show whose console they were."""


class Ticket(NamedTuple):
    """Whose ticket it is, and for what; `kind` is vnc or serial."""

    node_id: int
    kind: str
    user_id: int
    token_id: str | None


def issue_ticket(session: Session, new: Ticket) -> str:
    """A ticket of 256 random bits, as text for a URL."""
    text = secrets.token_urlsafe(32)
    session.execute(
        "INSERT INTO console_ticket (hash, node_id, kind, user_id, token_id, expires)"
        " VALUES (%s, %s, %s, %s, %s, UTC_TIMESTAMP(3) + INTERVAL %s SECOND)",
        (_hash(text), *new, TICKET_SECONDS),
    )
    session.execute(
        "DELETE FROM console_ticket WHERE expires < UTC_TIMESTAMP(3) - INTERVAL %s HOUR LIMIT 100",
        (_RETENTION_HOURS,),
    )
    return text


def use_ticket(session: Session, text: str) -> Ticket | None:
    """Use a ticket; None for one that is unknown, used or too old. Of two at once, one gets it."""
    digest = _hash(text)
    used = session.execute(
        "UPDATE console_ticket SET used_at = UTC_TIMESTAMP(3)"
        " WHERE hash = %s AND used_at IS NULL AND expires > UTC_TIMESTAMP(3)",
        (digest,),
    )
    if not used:
        return None
    row = session.row(
        "SELECT node_id, kind, user_id, token_id FROM console_ticket WHERE hash = %s", (digest,)
    )
    return Ticket(*row) if row else None


def console_of(session: Session, text: str) -> tuple[str, str, str] | None:
    """(cluster, node, frontend or compute) of a ticket, also of one that is used or too old; None: it is unknown."""
    row = session.row(
        "SELECT c.name, n.name, n.kind FROM console_ticket t JOIN node n ON n.id = t.node_id"
        " JOIN cluster c ON c.id = n.cluster_id WHERE t.hash = %s",
        (_hash(text),),
    )
    return (row[0], row[1], row[2]) if row else None


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
