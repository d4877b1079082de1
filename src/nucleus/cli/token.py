"""`nucleus token`"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nucleus.api.credentials import OWNER_SCOPES, SCOPES
from nucleus.api.representations import text_of
from nucleus.api.tokens import store_token
from nucleus.cli.administration import act_of, perform, print_table, record, the_user
from nucleus.mirror import identity
from rocks.core.errors import UserError

if TYPE_CHECKING:
    import argparse

    from nucleus.mirror.pool import Session

run = perform


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    made = act_of(
        parser,
        {
            "list": ("list the tokens of a user, or of all", _list),
            "create": (
                "make a token for a user, and print it: it is not stored and cannot be printed again",
                _create,
            ),
            "revoke": ("end a token", _revoke),
        },
    )
    made["list"].add_argument("user", nargs="?", metavar="USER")
    made["create"].add_argument("user", metavar="USER")
    made["create"].add_argument(
        "--scope", action="append", choices=SCOPES, metavar="SCOPE", help=f"repeated; of {', '.join(SCOPES)}"
    )
    made["create"].add_argument(
        "--project", action="append", metavar="PROJECT", help="only these of the user's; repeated"
    )
    made["create"].add_argument("--days", type=int, default=90, metavar="DAYS", help="how long it lasts (90)")
    made["create"].add_argument("--note", default="", metavar="TEXT")
    made["revoke"].add_argument("token", metavar="ID")


def _list(arguments: argparse.Namespace, session: Session) -> None:
    user = the_user(session, arguments.user).id if arguments.user else None
    names = {row[0]: row[1] for row in identity.usernames(session)}
    rows = [
        (one.id, names.get(one.user_id), " ".join(one.scopes), text_of(one.expires), text_of(one.last_used),
         text_of(one.revoked_at), one.note)
        for one in identity.tokens_of(session, user)
    ]  # fmt: skip
    print_table(("TOKEN", "USER", "SCOPES", "EXPIRES", "LAST USED", "REVOKED", "NOTE"), rows)


def _create(arguments: argparse.Namespace, session: Session) -> None:
    user = the_user(session, arguments.user)
    if not 1 <= arguments.days <= 3650:
        raise UserError(f"a token lasts 1 to 3650 days, not {arguments.days}")
    scopes = arguments.scope or (SCOPES if user.is_operator else OWNER_SCOPES)
    projects = None
    if arguments.project:
        own = {name: number for number, name in user.projects.items()}
        absent = [name for name in arguments.project if name not in own]
        if absent:
            name = absent[0]
            raise UserError(f"{user.username} is not in the project {name!r}; nucleus project list")
        projects = tuple(own[name] for name in arguments.project)
    expires = datetime.now(UTC) + timedelta(days=arguments.days)
    token, new = store_token(session, user.id, scopes, projects, expires, arguments.note)
    record(session, "create_token", token.id, " ".join(token.scopes))
    print(new.text)


def _revoke(arguments: argparse.Namespace, session: Session) -> None:
    if not identity.revoke_token(session, arguments.token, None):
        raise UserError(f"there is no usable token {arguments.token!r}; nucleus token list")
    record(session, "revoke_token", arguments.token)
