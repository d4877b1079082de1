"""Users, projects, allocations, tokens, and the keys with which the published client signs."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.limits import FIRST_LIMITS, MAX_TOKENS
from nucleus.mirror.columns import columns_of, from_json, in_one, moment_of, same_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.mirror.pool import Session


class User(NamedTuple):
    """Somebody who may use clusters; `projects` = id → name."""

    id: int
    username: str
    email: str
    first_name: str
    last_name: str
    is_active: bool
    is_operator: bool
    acknowledged_at: datetime | None
    projects: dict[int, str]


class Token(NamedTuple):
    """What is stored of a token: no secret. `projects` None = all those of its user. `is_session`: of a sign-in."""

    id: str
    user_id: int
    scopes: tuple[str, ...]
    projects: tuple[int, ...] | None
    note: str
    created: datetime
    expires: datetime | None
    last_used: datetime | None
    revoked_at: datetime | None
    is_session: bool = False


class Project(NamedTuple):
    """Users that share clusters, and what they may use of the site: limit → number."""

    id: int
    name: str
    limits: dict[str, int]


_USER = f"SELECT {columns_of('user', User._fields[:-1])} FROM user"
_TOKEN = f"SELECT {columns_of('token', Token._fields)} FROM token"
_PROJECT = "SELECT id, name, limits FROM project"


def _user(session: Session, row: tuple[Any, ...] | None) -> User | None:
    if row is None:
        return None
    projects = session.rows(
        "SELECT p.id, p.name FROM membership m JOIN project p ON p.id = m.project_id WHERE m.user_id = %s"
        " ORDER BY p.name",
        (row[0],),
    )
    values: list[Any] = [*row, {number: name for number, name in projects}]  # noqa: C416 - rows are tuples of any length
    return User(*values)


def user_by_id(session: Session, user_id: int) -> User | None:
    """The user with this number."""
    return _user(session, session.row(f"{_USER} WHERE id = %s", (user_id,)))


def user_by_name(session: Session, username: str) -> User | None:
    """The user of this name, in whatever case."""
    found = _user(session, session.row(f"{_USER} WHERE username = %s", (username,)))
    return found if found is not None and same_name(found.username, username) else None


def user_by_subject(session: Session, issuer: str, subject: str) -> User | None:
    """The user whom an identity provider knows by this subject."""
    return _user(session, session.row(f"{_USER} WHERE issuer = %s AND subject = %s", (issuer, subject)))


def lock_user(session: Session, user_id: int) -> None:
    """Have others who count what is this user's wait for the end of the transaction."""
    session.row("SELECT id FROM user WHERE id = %s FOR UPDATE", (user_id,))


def list_users(session: Session) -> list[tuple[Any, ...]]:
    """(username, email, names, active, operator, projects) of all, by name."""
    return session.rows(
        "SELECT u.username, u.email, CONCAT_WS(' ', u.first_name, u.last_name), u.is_active, u.is_operator,"
        " IFNULL(GROUP_CONCAT(p.name ORDER BY p.name SEPARATOR ','), '') FROM user u"
        " LEFT JOIN membership m ON m.user_id = u.id LEFT JOIN project p ON p.id = m.project_id"
        " GROUP BY u.id ORDER BY u.username"
    )


def add_user(
    session: Session, username: str, email: str, first_name: str, last_name: str, is_operator: bool
) -> int:
    """Store a user. DuplicateError when the name is taken."""
    columns = {"username": username, "email": email, "first_name": first_name, "last_name": last_name}
    return session.insert("user", {**columns, "is_operator": is_operator})


def acknowledge(session: Session, user_id: int) -> None:
    """Record that the user has acknowledged the responsibility for clusters, now."""
    session.update("user", {}, "acknowledged_at = UTC_TIMESTAMP(3)", id=user_id)


def leader_of(session: Session, project_id: int) -> User | None:
    """The leader of the project (its principal investigator); None when it has none."""
    number = session.value("SELECT leader_id FROM project WHERE id = %s", (project_id,))
    return None if number is None else user_by_id(session, number)


def set_member(session: Session, user_id: int, project_id: int, is_member: bool) -> None:
    """Put the user into the project, or out of it."""
    key = {"user_id": user_id, "project_id": project_id}
    if is_member:
        session.insert("membership", key, "INSERT IGNORE")
    else:
        session.delete("membership", **key)


def project_by_name(session: Session, name: str) -> Project | None:
    """The project of this name, in whatever case."""
    found = _project(session.row(f"{_PROJECT} WHERE name = %s", (name,)))
    return found if found is not None and same_name(found.name, name) else None


def project_by_id(session: Session, project_id: int, *, is_locked: bool = False) -> Project | None:
    """The project; locked: who else would use its quota waits until the end of the transaction."""
    lock = " FOR UPDATE" if is_locked else ""
    return _project(session.row(f"{_PROJECT} WHERE id = %s{lock}", (project_id,)))


def _project(row: tuple[Any, ...] | None) -> Project | None:
    return None if row is None else Project(row[0], row[1], json.loads(row[2]))


def list_projects(session: Session) -> list[Project]:
    """All projects, by name."""
    return [
        Project(number, name, json.loads(limits))
        for number, name, limits in session.rows(f"{_PROJECT} ORDER BY name")
    ]


def add_project(session: Session, name: str) -> int:
    """Store a project, with its first limits. DuplicateError when the name is taken."""
    return session.insert("project", {"name": name, "limits": FIRST_LIMITS})


def add_allocation(session: Session, name: str) -> None:
    """Store an allocation. DuplicateError when the name is taken."""
    session.insert("allocation", {"name": name})


def list_allocations(session: Session) -> list[tuple[Any, ...]]:
    """(allocation, its clusters) by name."""
    return session.rows(
        "SELECT a.name, IFNULL(GROUP_CONCAT(c.name ORDER BY c.name SEPARATOR ','), '') FROM allocation a"
        " LEFT JOIN cluster_allocation x ON x.allocation_id = a.id LEFT JOIN cluster c ON c.id = x.cluster_id"
        " GROUP BY a.id ORDER BY a.name"
    )


def clusters_permitted(session: Session, name: str) -> list[str]:
    """The living clusters that may charge the allocation, by name."""
    return session.column(
        "SELECT c.name FROM cluster c JOIN cluster_allocation x ON x.cluster_id = c.id"
        " JOIN allocation a ON a.id = x.allocation_id WHERE a.name = %s AND c.gone_at IS NULL ORDER BY c.name",
        (name,),
    )


def set_allocation(session: Session, cluster_id: int, name: str, may_charge: bool) -> bool:
    """Let the cluster charge the allocation, or no more; False when there is none of this name."""
    number = session.value("SELECT id FROM allocation WHERE name = %s", (name,))
    if number is None:
        return False
    key = {"cluster_id": cluster_id, "allocation_id": number}
    if may_charge:
        session.insert("cluster_allocation", key, "INSERT IGNORE")
    else:
        session.delete("cluster_allocation", **key)
    return True


def add_token(session: Session, token: Token, secret_sha256: bytes) -> None:
    """Store a token; its moments come from the database. Of its user's that have ended the last ones are kept."""
    columns = {
        "id": token.id, "user_id": token.user_id, "secret_sha256": secret_sha256, "scopes": " ".join(token.scopes),
        "projects": None if token.projects is None else list(token.projects), "note": token.note,
        "expires": token.expires and token.expires.replace(tzinfo=None), "is_session": token.is_session,
    }  # fmt: skip
    session.insert("token", columns)
    ended = session.column(
        "SELECT id FROM token WHERE user_id = %s AND (revoked_at IS NOT NULL OR expires <= UTC_TIMESTAMP(3))"
        " ORDER BY IFNULL(revoked_at, expires) DESC, id LIMIT 1000 OFFSET %s",
        (token.user_id, MAX_TOKENS),
    )
    session.delete("token", id=ended)


def _token(row: Sequence[Any]) -> Token:
    token = Token(*row)
    return token._replace(
        scopes=tuple(row[2].split()),
        projects=None if row[3] is None else tuple(json.loads(row[3])),
        is_session=bool(token.is_session),
    )


class TokenUse(NamedTuple):
    """What a request with a token needs. `is_unnoted`: its use was not recorded in the last minute."""

    token: Token
    secret_sha256: bytes
    user: User
    is_unnoted: bool


_OF_USE = (
    "t.id, t.user_id, t.scopes, CAST(t.projects AS CHAR), t.note, t.created, t.expires, t.last_used, t.revoked_at,"
    " HEX(t.secret_sha256), t.last_used IS NULL OR t.last_used < UTC_TIMESTAMP(3) - INTERVAL 1 MINUTE,"
    " t.is_session, u.username, u.email, u.first_name, u.last_name, u.is_active, u.is_operator, u.acknowledged_at"
)
_USE = (
    f"SELECT {in_one(_OF_USE)}, p.id, p.name"
    " FROM token t JOIN user u ON u.id = t.user_id LEFT JOIN membership m ON m.user_id = u.id"
    " LEFT JOIN project p ON p.id = m.project_id"
    " WHERE t.id = %s AND t.revoked_at IS NULL AND (t.expires IS NULL OR t.expires > UTC_TIMESTAMP(3))"
    " ORDER BY p.name"
)


def token_use(session: Session, token_id: str) -> TokenUse | None:
    """The token with its user, unless it is unknown, revoked or too old: one statement, for every request needs it."""
    rows = session.rows(_USE, (token_id,))
    if not rows:
        return None
    values = from_json(rows[0][0])
    token = _token((*values[:5], *map(moment_of, values[5:9]), values[11]))
    username, email, first, last, is_active, is_operator, acknowledged = values[12:]
    user = User(
        token.user_id, username, email, first, last, bool(is_active), bool(is_operator), moment_of(acknowledged),
        {number: name for _, number, name in rows if number is not None},
    )  # fmt: skip
    return TokenUse(token, bytes.fromhex(values[9]), user, bool(values[10]))


def note_use(session: Session, token_id: str) -> None:
    """Record that the token was used, at most once a minute."""
    session.execute(
        "UPDATE token SET last_used = UTC_TIMESTAMP(3) WHERE id = %s"
        " AND (last_used IS NULL OR last_used < UTC_TIMESTAMP(3) - INTERVAL 1 MINUTE)",
        (token_id,),
    )


def tokens_of(session: Session, user_id: int | None) -> list[Token]:
    """The tokens of a user, or of all; those that are revoked are among them."""
    condition, values = ("", ()) if user_id is None else (" WHERE user_id = %s", (user_id,))
    return [_token(row) for row in session.rows(f"{_TOKEN}{condition} ORDER BY created, id", values)]


def usable_tokens(session: Session, user_id: int, *, is_session: bool = False) -> list[str]:
    """The usable tokens of a user, those of sign-ins or the others, first those not used for longest.

    Locks the user's row: another transaction that counts the user's tokens, to make one more, waits for the end of this
    one.
    """
    lock_user(session, user_id)
    return session.column(
        "SELECT id FROM token WHERE user_id = %s AND is_session = %s AND revoked_at IS NULL"
        " AND (expires IS NULL OR expires > UTC_TIMESTAMP(3)) ORDER BY IFNULL(last_used, created), id",
        (user_id, is_session),
    )


def revoke_token(session: Session, token_id: str, user_id: int | None) -> bool:
    """End a token (of this user, if not None); False when there is none that is still usable."""
    own = {} if user_id is None else {"user_id": user_id}
    ended = "revoked_at = UTC_TIMESTAMP(3)"
    if not token_id.isascii():  # the database compares the column with ASCII only
        return False
    return bool(session.update("token", {}, ended, id=token_id, revoked_at=None, **own))


def revoke_credentials(session: Session, user_id: int) -> None:
    """End all tokens of a user, and the key for signatures."""
    session.update("token", {}, "revoked_at = UTC_TIMESTAMP(3)", user_id=user_id, revoked_at=None)
    session.delete("signature_key", user_id=user_id)


class SignatureKey(NamedTuple):
    """A user's key for signatures; its secret is sealed. It ends with the token that obtained it, if one did."""

    key_name: str
    user_id: int
    token_id: str | None
    secret: bytes


def store_signature_key(session: Session, key: SignatureKey) -> None:
    """Store a key, instead of an earlier one of its user."""
    session.delete("signature_key", user_id=key.user_id)
    session.insert("signature_key", key._asdict())


def signature_key(session: Session, key_name: str) -> SignatureKey | None:
    """The key of this name."""
    row = session.row(
        "SELECT key_name, user_id, token_id, secret FROM signature_key WHERE key_name = %s", (key_name,)
    )
    return None if row is None else SignatureKey(*row)


def take_nonce(session: Session, nonce: str, keep_seconds: int) -> bool:
    """Store a nonce; False when it was seen. Those older than `keep_seconds` are forgotten."""
    session.execute(
        "DELETE FROM nonce WHERE seen < UTC_TIMESTAMP(3) - INTERVAL %s SECOND LIMIT 1000", (keep_seconds,)
    )
    return bool(session.execute("INSERT IGNORE INTO nonce (nonce) VALUES (%s)", (nonce,)))
