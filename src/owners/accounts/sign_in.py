"""Signing in on the pages: a token, or a user name and a password, becomes a cookie, and signing out ends it."""

from __future__ import annotations

import contextlib
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from nucleus.api import models
from nucleus.api.access.authentication import Caller, cookie_name, is_own_page, refused
from nucleus.api.access.credentials import NOT_WHOLE, Sent, SentAssertion, SentPassword, read_token
from nucleus.api.etags import json_answer
from nucleus.api.problems import Problem
from nucleus.api.service import Call, Known, address_of, service_of
from nucleus.mirror import audit, identity
from owners.accounts.tokens import store_session

if TYPE_CHECKING:
    from nucleus.parts import Verifier

SESSION_HOURS = 12
"""After which a person signs in on the page again."""

router = APIRouter(include_in_schema=False)

_NOTE = "signed in on the page"
"""The note of the tokens that are made here, and revoked by signing out."""

_RETURN = "/session/provider/answer"
_NOT_ON_PAGES = ("cluster:destroy",)


class SignIn(models.Request):
    """A token; with a user name, a password of the site or a token of that user."""

    username: str = Field("", max_length=128)
    password: str = Field(min_length=1, max_length=1024)


@router.get("/session")
async def ways(request: Request) -> Response:
    """Which ways the form offers."""
    settings = service_of(request).configuration.authentication
    return json_answer({"password": bool(settings.password_file), "provider": _verifier(request) is not None})


@router.post("/session")
def sign_in(request: Request, body: SignIn) -> Response:
    """204 and the cookie. What is no token becomes one of 12 hours; a token is its own session, and ends with it."""
    _demand_own_page(request)
    sent: Sent | None = SentPassword(body.username, body.password)
    if not body.username:
        sent = read_token(body.password.strip())
    if sent is None:
        raise refused(f"{NOT_WHOLE}; your site gives you the first one")
    caller = service_of(request).authenticator.log_in(request, sent)
    return start_session(request, caller, body.password.strip())


def start_session(request: Request, caller: Caller, token: str) -> Response:
    """204 with the cookie of a caller who has just proved to be one; `token` counts if that was the proof."""
    service = service_of(request)
    service.take_change(caller, "sign_in")
    call = Call(request, service, caller)
    with service.pool.transaction() as session:
        if caller.token_id is None:
            expires = call.now + timedelta(hours=SESSION_HOURS)
            scopes = sorted(caller.scope.scopes.difference(_NOT_ON_PAGES))
            token = store_session(session, caller, scopes, None, expires, _NOTE)[1].text
        audit.record(session, call.entry("sign_in", caller.actor, "accepted"))
    response = Response(None, 204, {"Cache-Control": "no-store"})
    response.set_cookie(cookie_name(request), token, secure=True, httponly=True, samesite="strict")
    return response


@router.get("/session/rights")
def rights(call: Known) -> Response:
    """What the session allows, `{"scopes": […], "is_operator": …}`, and its token: a page offers nothing else."""
    content = {"scopes": sorted(call.scope.scopes), "is_operator": call.scope.is_operator}
    return json_answer({**content, "token": call.caller.token_id})


@router.delete("/session")
def sign_out(request: Request) -> Response:
    """204: the browser forgets the cookie, and a token that was made for it is revoked."""
    _demand_own_page(request)
    service = service_of(request)
    with contextlib.suppress(Problem):  # a cookie that stands for nobody any more is forgotten, too
        call = Call(request, service, service.authenticator.identify(request))
        with service.pool.transaction() as session:
            own = identity.tokens_of(session, call.caller.user.id)
            # not the token of another program, such as that of `comet init`, with which its user has signed in here
            if any(one.id == call.caller.token_id and one.is_session and one.note == _NOTE for one in own):
                identity.revoke_token(session, call.caller.token_id or "", call.caller.user.id)
                # once for each sign-in: of another token nothing is changed
                audit.record(session, call.entry("sign_out", call.caller.actor, "accepted"))
    response = Response(None, 204, {"Cache-Control": "no-store"})
    response.delete_cookie(cookie_name(request), secure=True, httponly=True, samesite="strict")
    return response


@router.get("/session/provider")
def to_provider(request: Request) -> Response:
    """303 to the site's identity provider, with a cookie that only the answer to this question fits."""
    verifier = _demand_verifier(request)
    state, nonce, secret = secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48)
    address = verifier.sign_in_url(address_of(request, _RETURN), state, secret, nonce)
    response = Response(None, 303, {"Location": address, "Cache-Control": "no-store"})
    # Lax: the provider's page leads back here
    response.set_cookie(
        _question(request),
        f"{state}.{nonce}.{secret}",
        max_age=600,
        secure=True,
        httponly=True,
        samesite="lax",
    )
    return response


@router.get(_RETURN)
def from_provider(
    request: Request,
    code: Annotated[str, Query(max_length=4096)] = "",
    state: Annotated[str, Query(max_length=256)] = "",
    error: Annotated[str, Query(max_length=256)] = "",
) -> Response:
    """303 to the page with a session. Problem 401 for what this browser did not ask for, and for who gave up there."""
    verifier = _demand_verifier(request)
    expected, nonce, secret = (*request.cookies.get(_question(request), "").split("."), "", "", "")[:3]
    if error:
        raise refused("the identity provider did not sign you in, or you ended it there; begin again")
    if not (code and expected and nonce and secrets.compare_digest(expected.encode(), state.encode())):
        raise refused(
            "this is no answer to a sign-in of this browser; open the page of Nucleus, and begin again"
        )

    def obtain() -> SentAssertion:
        return SentAssertion(verifier.exchange(code, address_of(request, _RETURN), secret), nonce)

    caller = service_of(request).authenticator.log_in_by(request, code, obtain)
    response = start_session(request, caller, "")
    response.status_code = 303
    response.headers["Location"] = address_of(request, "/page/clusters")
    response.delete_cookie(_question(request), secure=True, httponly=True, samesite="lax")
    return response


def _question(request: Request) -> str:
    return f"{cookie_name(request)}-question"


def _verifier(request: Request) -> Verifier | None:
    service = service_of(request)
    return service.verifier if service.configuration.oidc.pages else None


def _demand_verifier(request: Request) -> Verifier:
    found = _verifier(request)
    if found is None:
        raise Problem("not-found", "this site signs nobody in by an identity provider; use a token")
    return found


def _demand_own_page(request: Request) -> None:
    """Another site's page must not sign its visitor in or out."""
    if not is_own_page(request):
        raise refused("sign in on the page of this service; programs send Authorization: Bearer TOKEN")
