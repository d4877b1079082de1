"""Users, projects and tokens: rows 29 to 32 of the published table, and the ways in of its clients."""

from __future__ import annotations

import html
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path
from fastapi import Request as HttpRequest
from starlette.responses import HTMLResponse, Response

from nucleus.api import credentials, models
from nucleus.api.authentication import missing_scope
from nucleus.api.conditional import conditional_json, json_answer
from nucleus.api.problems import Problem, Remedy
from nucleus.api.representations import Json, text_of, token_json, user_json
from nucleus.api.rules import responsibility
from nucleus.api.service import Call, Change, Known, changing, no_content, reading, service_of
from nucleus.api.tokens import store_token
from nucleus.mirror import identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.mirror.pool import Session

router = APIRouter()


@router.get("/v1/user", operation_id="row29", response_model=models.User, summary="You")
def get_user(call: Known) -> Response:
    """Row 29."""
    return reading(call, lambda session: conditional_json(call.request, user_json(call.caller.user)))


@router.put("/v1/user", operation_id="row30", response_model=models.User, summary="Change your names")
def put_user(call: Known, body: models.UserNames) -> Response:
    """Row 30. The user name and the e-mail address are the site's."""
    return changing(call, "read", "set_user", lambda change: _set_names(change, body))


@router.patch(
    "/v1/user", operation_id="row31", response_model=models.User, summary="Change one of your names"
)
def patch_user(call: Known, body: models.SomeUserNames) -> Response:
    """Row 31."""
    return changing(call, "read", "set_user", lambda change: _set_names(change, body))


def _set_names(change: Change, body: models.SomeUserNames) -> Response:
    user = change.caller.user
    for name, given, present in (
        ("username", body.username, user.username),
        ("email", body.email, user.email),
    ):
        if given is not None and given != present:
            raise Problem(
                "invalid-request",
                f"{name} is the site's; ask its operators to change it",
                [(f"#/{name}", "read only")],
            )
    first = user.first_name if body.first_name is None else body.first_name
    last = user.last_name if body.last_name is None else body.last_name
    identity.set_names(change.session, user.id, first, last)
    change.note(user.username, f"{user.first_name} {user.last_name}", f"{first} {last}")
    return json_answer(user_json(user._replace(first_name=first, last_name=last)))


@router.get("/v1/project", operation_id="row32", response_model=list[models.Project], summary="Your projects")
def list_projects(call: Known) -> Response:
    """Row 32."""

    def read(session: Session) -> Response:
        if call.scope.is_operator:
            names = [project.name for project in identity.list_projects(session)]
        else:
            own = call.caller.user.projects.items()
            names = sorted(name for number, name in own if number in call.scope.projects)
        return conditional_json(call.request, [{"name": name} for name in names])

    return reading(call, read)


@router.get(
    "/v1/user/acknowledgement",
    operation_id="get_acknowledgement",
    response_model=models.Acknowledgement,
    summary="What you are responsible for",
)
def get_acknowledgement(call: Known) -> Response:
    """The text of the site, and whether you have acknowledged it."""
    return reading(call, lambda session: conditional_json(call.request, _acknowledgement(call)))


def _acknowledgement(call: Call) -> Json:
    settings = call.service.configuration.responsibility
    text, version = responsibility(settings)
    return {
        "text": text,
        "version": version,
        "acknowledged_at": text_of(call.caller.user.acknowledged_at),
        "is_required": settings.required,
    }


@router.put(
    "/v1/user/acknowledgement",
    operation_id="acknowledge",
    response_model=models.Acknowledgement,
    summary="Acknowledge what you are responsible for",
)
def put_acknowledgement(call: Known, body: models.Acknowledged) -> Response:
    """With the version of the text that you have read."""

    def act(change: Change) -> Response:
        content = _acknowledgement(call)
        if body.version != content["version"]:
            raise Problem(
                "precondition-failed", "the text is another one by now: read it again, and send its version"
            )
        identity.acknowledge(change.session, change.caller.user.id)
        change.note(change.caller.actor, after=body.version)
        return json_answer({**content, "acknowledged_at": text_of(call.now)})

    return changing(call, "read", "acknowledge", act)


@router.get("/v1/token", operation_id="list_tokens", response_model=list[models.Token], summary="Your tokens")
def list_tokens(call: Known) -> Response:
    """Without their secrets."""

    def read(session: Session) -> Response:
        found = identity.tokens_of(session, call.caller.user.id)
        return conditional_json(call.request, [token_json(one, call.caller.user.projects) for one in found])

    return reading(call, read)


@router.post(
    "/v1/token",
    operation_id="create_token",
    status_code=201,
    response_model=models.TokenWithSecret,
    summary="Make a token",
)
def create_token(call: Known, body: models.NewToken) -> Response:
    """Its text is in this answer only. It allows no more, and lasts no longer, than what it is made with.

    Without `scopes` it has those of every day that the credentials have.
    """

    def act(change: Change) -> Response:
        excess = [scope for scope in body.scopes if scope not in call.scope.scopes]
        if excess and "scopes" in body.model_fields_set:
            raise missing_scope(call.caller, excess[0])
        scopes = [scope for scope in body.scopes if scope in call.scope.scopes]
        return _token_answer(change, scopes, _own_projects(call, body.projects), body.days, body.note)

    return changing(call, "read", "create_token", act)


def _own_projects(call: Call, names: list[str] | None) -> tuple[int, ...] | None:
    if names is None:
        is_whole = call.scope.projects == call.caller.user.projects.keys()
        return None if is_whole else tuple(sorted(call.scope.projects))
    own = {
        name: number for number, name in call.caller.user.projects.items() if number in call.scope.projects
    }
    for name in names:
        if name not in own:
            raise Problem(
                "invalid-request", f"you are in no project {name[:64]!r}", remedy=Remedy("list-projects")
            )
    return tuple(own[name] for name in names)


def _token_answer(
    change: Change, scopes: Sequence[str], projects: tuple[int, ...] | None, days: int, note: str
) -> Response:
    call = change.call
    expires, limited_by = _expiry(call, days)
    token, new = store_token(change.session, call.caller.user.id, scopes, projects, expires, note)
    change.note(token.id, after=" ".join(token.scopes))
    content = {
        **token_json(token, call.caller.user.projects),
        "token": new.text,
        "limited_by": limited_by,
        "most_days": call.service.configuration.authentication.most_token_days,
    }
    return json_answer(content, 201, {"Cache-Control": "no-store"})


def _expiry(call: Call, days: int) -> tuple[datetime, str | None]:
    """When a token ends that was asked for so many days, and what made that earlier: site, credentials or nothing."""
    most = call.service.configuration.authentication.most_token_days
    expires = call.now + timedelta(days=min(days, most))
    if call.caller.expires is not None and call.caller.expires < expires:
        return call.caller.expires, "credentials"
    return expires, "site" if days > most else None


@router.delete("/v1/token/{id}", operation_id="revoke_token", status_code=204, summary="Revoke a token")
def revoke_token(call: Known, id: Annotated[str, Path(max_length=64)]) -> Response:
    """At once, for every request that comes from now on."""

    def act(change: Change) -> Response:
        if not identity.revoke_token(change.session, id, call.caller.user.id):
            raise Problem(
                "unknown-token", f"there is no usable token {id!r} of yours", remedy=Remedy("list-tokens")
            )
        change.note(id)
        return no_content()

    return changing(call, "read", "revoke_token", act)


@router.get(
    "/getkey",
    operation_id="getkey",
    response_model=models.SignatureKey,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}},
    summary="The key of the published client",
)
def get_key(call: Known) -> Response:
    """By HTTP Basic only, where the site takes signatures. Each time a new key, which replaces the earlier one."""
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
        user = change.caller.user
        secret = credentials.new_signature_secret()
        sealed = credentials.seal(secret, call.service.authenticator.sealing_key())
        key_name = user.email or user.username
        identity.store_signature_key(change.session, key_name, user.id, sealed)
        change.note(key_name)
        headers = {"Cache-Control": "no-store"}
        if as_page:
            rows = f"<dt>key_name<dd>{html.escape(key_name)}<dt>key<dd>{secret}"
            text = f"<!doctype html><title>Key</title><dl>{rows}</dl>"
            return HTMLResponse(text, 200, headers)
        return json_answer({"key_name": key_name, "key": secret}, 200, headers)

    return changing(call, "read", "getkey", act)


def _demand_switch(is_on: bool) -> None:
    if not is_on:
        raise Problem("not-found", "this site does not offer this; make a token with `comet init`")


@router.post(
    "/rest-auth/login", operation_id="login", response_model=models.Key, summary="A token for a password"
)
def log_in(request: HttpRequest, body: models.Login) -> Response:
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
        token, new = store_token(
            change.session, caller.user.id, sorted(caller.scope.scopes), projects, expires, "login"
        )
        change.note(token.id)
        return json_answer({"key": new.text}, 200, {"Cache-Control": "no-store"})

    return changing(call, "read", "login", act)


@router.post("/rest-auth/logout", operation_id="logout", summary="Revoke the token of the request")
def log_out(call: Known) -> Response:
    """For the published client."""
    _demand_switch(call.service.configuration.authentication.login)

    def act(change: Change) -> Response:
        if call.caller.token_id is not None:
            identity.revoke_token(change.session, call.caller.token_id, call.caller.user.id)
            change.note(call.caller.token_id)
        return json_answer({"detail": "You are logged out."})

    return changing(call, "read", "logout", act)
