"""Making tokens: by their owners, and by administrators."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nucleus.api import credentials
from nucleus.mirror import identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.mirror.pool import Session


def store_token(
    session: Session,
    user_id: int,
    scopes: Sequence[str],
    projects: tuple[int, ...] | None,
    expires: datetime | None,
    note: str,
) -> tuple[identity.Token, credentials.NewToken]:
    """Make a token and store what is stored of it."""
    new = credentials.new_token()
    now = datetime.now(UTC)
    ordered = tuple(scope for scope in credentials.SCOPES if scope in {*scopes, "read"})
    token = identity.Token(new.id, user_id, ordered, projects, note, now, expires, None, None)
    identity.add_token(session, token, new.secret_sha256)
    return token, new
