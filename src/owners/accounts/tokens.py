"""Tokens of users, and how the published client gets its own: a key for signatures, a login."""

from __future__ import annotations

import html
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from starlette.responses import HTMLResponse, Response

from nucleus.api import models
from nucleus.api.access import credentials
from nucleus.api.access.authentication import (
    Caller,
    demand_all_of_password,
    demand_more_than_read,
    missing_scope,
    store_token,
)
from nucleus.api.decorators import changes, reads, route
from nucleus.api.etags import conditional_json, json_answer
from nucleus.api.problems import Problem, Remedy, invalid
from nucleus.api.representations import Json, shaped
from nucleus.api.service import Call, Change, Known, Reading, changing, no_content, service_of
from nucleus.limits import MAX_SESSIONS, MAX_TOKENS
from nucleus.mirror import identity
from owners.accounts import users

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nucleus.mirror.identity import Token
    from nucleus.mirror.pool import Session

router = APIRouter()


class Login(models.Request):
    """The credentials of the published client."""

    username: models.Text
    password: models.Text


class Key(models.Answer):
    """A token, as the published client expects it."""

    key: str


class SignatureKey(models.Answer):
    """The key with which the published client signs."""

    key_name: str
    key: str


def demand_new_token(session: Session, caller: Caller) -> None:
    """Problem for credentials that may only read, and when the user has as many usable tokens as one may have.

    Locks the user's row. A token that has leaked is ended by revoking it, which others made with it would outlast.
    """
    demand_more_than_read(caller)
    usable = identity.usable_tokens(session, caller.user.id)
    if len(usable) >= MAX_TOKENS:
        raise Problem(
            "quota-exceeded",
            f"you have {MAX_TOKENS} tokens, and nobody may have more; revoke those that nothing uses: for the longest"
            f" time nothing has used {', '.join(usable[:3])}",
            remedy=Remedy("list-tokens"),
        )


def store_session(
    session: Session,
    caller: Caller,
    scopes: Sequence[str],
    projects: tuple[int, ...] | None,
    expires: datetime,
    note: str,
) -> tuple[identity.Token, credentials.NewToken]:
    """As `store_token`, of a sign-in. Who signs in again and again ends the session that nothing has used for longest.

    Problem for credentials that may only read.
    """
    demand_more_than_read(caller)
    usable = identity.usable_tokens(session, caller.user.id, is_session=True)
    for identifier in usable[: max(0, len(usable) + 1 - MAX_SESSIONS)]:
        identity.revoke_token(session, identifier, caller.user.id)
    return store_token(session, caller.user.id, scopes, projects, expires, note, is_session=True)


@route(router, "GET /v1/token", "list_tokens", "Your tokens", list[users.Token])
@reads
def list_tokens(reading: Reading) -> Response:
    """Without their secrets."""
    user = reading.call.caller.user
    found = identity.tokens_of(reading.session, user.id)
    return conditional_json(reading.call.request, [token_json(one, user.projects) for one in found])


@route(router, "POST /v1/token", "create_token", "Make a token", users.TokenWithSecret, status_code=201)
@changes("read", "create_token")
def create_token(change: Change, body: users.NewToken) -> Response:
    """Its text is in this answer only. It allows no more, and lasts no longer, than what it is made with.

    Without `scopes` it has those of every day that the credentials have, but for `cluster:reinstall`. A token that may
    only read makes none.
    """
    call = change.call
    excess = [scope for scope in body.scopes if scope not in call.scope.scopes]
    if excess and "scopes" in body.model_fields_set:
        raise missing_scope(call.caller, excess[0])
    scopes = [scope for scope in body.scopes if scope in call.scope.scopes]
    expires, limited_by = _expiry(call, body.days)
    projects = _own_projects(call, body.projects)
    demand_new_token(change.session, call.caller)
    token, new = store_token(change.session, call.caller.user.id, scopes, projects, expires, body.note)
    change.note(token.id, after=" ".join(token.scopes))
    content = {
        **token_json(token, call.caller.user.projects),
        "token": new.text,
        "limited_by": limited_by,
        "most_days": call.service.configuration.authentication.most_token_days,
    }
    return json_answer(content, 201, {"Cache-Control": "no-store"})


def _own_projects(call: Call, names: list[str] | None) -> tuple[int, ...] | None:
    if names is None:
        return None if call.caller.is_whole else tuple(sorted(call.scope.projects))
    own = {name.casefold(): number for name, number in call.caller.projects.items()}
    for name in names:
        if name.casefold() not in own:
            raise invalid(f"you are in no project {name[:64]!r}", remedy=Remedy("list-projects"))
    return tuple(own[name.casefold()] for name in names)


def _expiry(call: Call, days: int) -> tuple[datetime, str | None]:
    """When a token ends that was asked for so many days, and what made that earlier: site, credentials or nothing."""
    most = call.service.configuration.authentication.most_token_days
    expires = call.now + timedelta(days=min(days, most))
    if call.caller.expires is not None and call.caller.expires < expires:
        return call.caller.expires, "credentials"
    return expires, "site" if days > most else None


@route(router, "DELETE /v1/token/{id}", "revoke_token", "Revoke a token", status_code=204)
@changes("read", "revoke_token")
def revoke_token(change: Change, id: str) -> Response:
    """At once, for every request that comes from now on. A token that may only read revokes no other token."""
    if id != change.caller.token_id:
        demand_more_than_read(change.caller)
    if not identity.revoke_token(change.session, id, change.caller.user.id):
        detail = f"there is no usable token {id[:64]!r} of yours"
        raise Problem("unknown-token", detail, remedy=Remedy("list-tokens"))
    change.note(id)
    return no_content()


@route(
    router,
    "GET /getkey",
    "getkey",
    "The key of the published client",
    SignatureKey,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}},
)
def get_key(call: Known) -> Response:
    """By HTTP Basic only, where the site takes signatures. Each time a new key, which replaces the earlier one.

    A token that allows less than a password gets none. The key allows what the password or token does that obtained it,
    and ends with that token.
    """
    _demand_switch(call.service.configuration.authentication.signatures)
    if call.caller.method != "basic":
        raise Problem(
            "not-authenticated",
            "the key is visible for a user name and a password only",
            headers={"WWW-Authenticate": 'Basic realm="nucleus", charset="UTF-8"'},
        )
    accept = call.request.headers.get("accept", "*/*")
    as_page = "text/html" in accept
    if not as_page and "json" not in accept and "*/*" not in accept:
        raise Problem(
            "wrong-media-type", "the key comes as application/json or text/html; accept one of them"
        )

    def act(change: Change) -> Response:
        demand_all_of_password(change.caller)
        user = change.caller.user
        secret = credentials.new_signature_secret()
        sealed = credentials.seal(secret, call.service.authenticator.sealing_key())
        key_name = _key_name(change.session, user)
        key = identity.SignatureKey(key_name, user.id, change.caller.token_id, sealed)
        identity.store_signature_key(change.session, key)
        change.note(key_name)
        headers = {"Cache-Control": "no-store"}
        if as_page:
            rows = f"<dt>key_name<dd>{html.escape(key_name)}<dt>key<dd>{secret}"
            text = f"<!doctype html><title>Key</title><dl>{rows}</dl>"
            return HTMLResponse(text, 200, headers)
        return json_answer({"key_name": key_name, "key": secret}, 200, headers)

    return changing(call, "read", "getkey", act)


def _key_name(session: Session, user: identity.User) -> str:
    """The e-mail address, as in the published service; the user name where there is none, or another's key has it."""
    known = identity.signature_key(session, user.email)
    return user.email if user.email and (known is None or known.user_id == user.id) else user.username


def _demand_switch(is_on: bool) -> None:
    if not is_on:
        raise Problem(
            "not-found",
            "this site does not offer this: ask its operators for a token, then `comet init --token-file=FILE`",
        )


@route(router, "POST /rest-auth/login", "login", "A token for a password", Key)
def log_in(request: HttpRequest, body: Login) -> Response:
    """For the published client. The token lasts a day."""
    service = service_of(request)
    _demand_switch(service.configuration.authentication.login)
    sent = credentials.SentPassword(body.username, body.password)
    caller = service.authenticator.log_in(request, sent)
    call = Call(request, service, caller, has_password=True)

    def act(change: Change) -> Response:
        expires = call.now + timedelta(days=1)
        if caller.expires is not None:
            expires = min(expires, caller.expires)
        projects = None if caller.token_id is None else tuple(sorted(caller.scope.projects))
        token, new = store_session(
            change.session, caller, sorted(caller.scope.scopes), projects, expires, "login"
        )
        change.note(token.id)
        return json_answer({"key": new.text}, 200, {"Cache-Control": "no-store"})

    return changing(call, "read", "login", act)


@route(router, "POST /rest-auth/logout", "logout", "Revoke the token of the request")
@changes("read", "logout")
def log_out(change: Change) -> Response:
    """For the published client."""
    _demand_switch(change.call.service.configuration.authentication.login)
    if change.caller.token_id is not None:
        identity.revoke_token(change.session, change.caller.token_id, change.caller.user.id)
        change.note(change.caller.token_id)
    return json_answer({"detail": "You are logged out."})


def token_json(token: Token, projects: Mapping[int, str]) -> Json:
    """A token without its secret."""
    names = None if token.projects is None else [projects[one] for one in token.projects if one in projects]
    return shaped(users.Token, token, scopes=list(token.scopes), projects=names)
