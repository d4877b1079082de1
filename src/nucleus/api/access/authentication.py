"""Who asks: the credentials of a request become a caller with projects and rights, or a 401; and new tokens."""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nucleus.api.access import credentials
from nucleus.api.access.credentials import (
    OWNER_SCOPES,
    BadCredentials,
    NewToken,
    SentAssertion,
    SentPassword,
    SentSignature,
    SentToken,
)
from nucleus.api.access.throttles import AtOnce, DailyRate, Failures, network_of
from nucleus.api.problems import Problem, Remedy, forbidden, request_id, unavailable
from nucleus.limits import SIGNATURE_WINDOW_SECONDS
from nucleus.mirror import audit, identity
from nucleus.records import Scope

MAX_PASSWORDS, MAX_PASSWORDS_OF_NAME = 24, 8
"""How many are checked or wait for that: each has one of the 40 threads that all requests share.

Right ones have no other bound before they are checked: one person leaves places to the others.
"""

MAX_CHECKS, MAX_CHECKS_OF_NAME = 4, 2
"""Of bcrypt, at the same time: each takes a processor for a tenth of a second or more."""

_PASSWORD_PLACES = AtOnce("passwords", MAX_PASSWORDS)
_PASSWORD_CHECKS = AtOnce("checks of passwords", MAX_CHECKS, wait_seconds=60)
"""All are of one user, 0: who it is, is not known yet. Their groups are the names."""

MAX_RECORDED, MAX_RECORDED_OF_STRANGERS = 2_000, 20_000
"""Refusals of a user, or of strangers from one network, and of all strangers, that the audit log has of a day.

Further ones are refused all the same, and have their line in the journal, as every request.
"""

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import HTTPConnection, Request

    from nucleus.configuration import AuthenticationSettings
    from nucleus.mirror.identity import TokenUse, User
    from nucleus.mirror.pool import Pool, Session


class Caller(NamedTuple):
    """Whose request it is. `scope` is what the mirror asks; `method` how the caller proved it.

    `is_whole`: the credentials are for all projects of the user, also those of tomorrow.
    """

    user: identity.User
    scope: Scope
    token_id: str | None
    method: str
    expires: datetime | None = None
    is_whole: bool = True

    @property
    def actor(self) -> str:
        """The name in operations and in the audit log."""
        return self.user.username

    @property
    def projects(self) -> dict[str, int]:
        """Name → number of the user's projects that the credentials are for."""
        return {name: number for number, name in self.user.projects.items() if number in self.scope.projects}


@dataclass
class Authenticator:
    """Checks credentials against the database, the site's passwords and the site's identity provider."""

    pool: Pool
    settings: AuthenticationSettings
    verify_assertion: Callable[[str, str], dict[str, str]] | None
    _failures: Failures = field(init=False, default_factory=Failures)
    recorded: DailyRate = field(init=False, default_factory=lambda: DailyRate("refusals", MAX_RECORDED))
    _recorded_of_strangers: DailyRate = field(
        init=False, default_factory=lambda: DailyRate("refusals", MAX_RECORDED_OF_STRANGERS)
    )

    def identify(self, request: Request, *, is_again: bool = False) -> Caller:
        """The caller. Problem 401 without usable credentials; it states what is wrong where that helps nobody else."""
        authorization = request.headers.get("authorization") or credentials_of_cookie(request)
        if not authorization:
            raise refused("the request names nobody; send Authorization: Bearer TOKEN")
        headers = {name: request.headers.get(name, "") for name in ("x-api-key", "nonce", "timestamp")}
        try:
            sent = credentials.read_credentials(authorization, headers)
        except BadCredentials as error:
            raise self.failure(request, "unreadable", refused(str(error))) from None
        return self.log_in(request, sent, is_again=is_again)

    def log_in(self, request: Request, sent: credentials.Sent, *, is_again: bool = False) -> Caller:
        """The caller, of credentials in the body. Problem 401."""
        is_guessable = isinstance(sent, SentPassword) and credentials.read_token(sent.password) is None
        claim = credentials.claim_of(sent)
        return self._checked(request, claim, lambda: self._identify(sent, is_again), is_guessable)

    def log_in_by(self, request: Request, code: str, obtain: Callable[[], credentials.Sent]) -> Caller:
        """As `log_in`, of what the identity provider has to give for a code; a Problem 401 of that counts, too."""

        def find() -> Caller:
            caller = self._identify(obtain())
            if caller is None:
                raise refused(
                    "the identity provider knows you, but no user of this service has your name there; ask your site's"
                    " operators for one"
                )
            return caller

        return self._checked(request, credentials.claim_of(SentAssertion(code)), find, True)

    def _checked(
        self, request: Request, claim: str, find: Callable[[], Caller | None], is_guessable: bool
    ) -> Caller:
        """What was found. The secret of a token cannot be guessed: right ones are never refused for wrong ones.

        Passwords can, and are expensive to check, as codes of the provider are: after too many wrong ones none is
        looked at, and a right one does not count that was sent together with them.
        """
        state, source = request.scope["state"], _source_of(request)
        if is_guessable:
            self._failures.check(source, claim)
        try:
            caller = find()
            if caller is None:
                raise refused("these credentials are unknown, revoked or too old")
        except Problem as problem:
            if problem.code == "not-authenticated":
                raise self.failure(request, claim, problem) from None
            raise
        if is_guessable:
            self._failures.check(source, claim)
        state["actor"], state["token_id"] = caller.actor, caller.token_id
        return caller

    def failure(
        self,
        request: HTTPConnection,
        claim: str,
        refusal: Problem,
        action: str = "authenticate",
        target: str = "",
    ) -> Problem:
        """The refusal of wrong credentials, which are counted and recorded; another one when there are too many.

        `target`: what they are for, instead of the path.
        """
        source = _source_of(request)
        try:
            self._failures.count(source, claim)
        except Problem as too_many:
            return too_many
        of_network = self.recorded.has_one_more(network_of(source))
        if not of_network or not self._recorded_of_strangers.has_one_more(""):
            return refusal
        target = target or credentials.without_secrets(request.url.path)
        entry = audit.Entry("", action, target, refusal.code, None, source, request_id(request))
        with self.pool.transaction() as session:
            audit.record(session, entry)
        return refusal

    def _identify(self, sent: credentials.Sent, is_again: bool = False) -> Caller | None:
        if isinstance(sent, SentAssertion):
            if self.verify_assertion is None:
                raise refused("this site has no identity provider; make a token with `comet init`")
            # may ask the provider: not while a connection to the database is held
            claims = self.verify_assertion(sent.text, sent.nonce)
            with self.pool.transaction() as session:
                return self._by_subject(session, claims)
        if isinstance(sent, SentToken):
            return self._by_token(sent)
        token = credentials.read_token(sent.password) if isinstance(sent, SentPassword) else None
        if isinstance(sent, SentPassword) and token is not None:  # a token of the user's own
            caller = self._by_token(token, sent.username)
            return caller and caller._replace(method="basic")
        if isinstance(sent, SentPassword):
            return self._by_password(sent)
        if not self.settings.signatures:
            raise refused("this site takes no signatures; make a token with `comet init`")
        with self.pool.transaction() as session:
            return self._by_signature(session, sent, is_again)

    def _by_token(self, sent: SentToken, username: str | None = None) -> Caller | None:
        """Asks the database at every request: a token that is revoked ends with the next one."""
        with self.pool.reading() as session:
            found = identity.token_use(session, sent.id)
        if found is None or not hmac.compare_digest(sent.secret_sha256, found.secret_sha256):
            return None
        caller = _of_token(found)
        if caller is None or (username is not None and caller.actor != username):
            return None
        if found.is_unnoted:
            with self.pool.transaction() as session:
                identity.note_use(session, sent.id)
        return caller

    def _by_password(self, sent: SentPassword) -> Caller | None:
        """A user of the password file. The check is slow on purpose: no connection is held, and few are at once."""
        if not self.settings.password_file:
            return None
        passwords = _read(self.settings.password_file)
        name = sent.username
        try:
            with (
                _PASSWORD_PLACES.one_more(0, name, MAX_PASSWORDS_OF_NAME),
                _PASSWORD_CHECKS.one_more(0, name, MAX_CHECKS_OF_NAME),
            ):
                fits = credentials.password_fits(passwords, name, sent.password)
        except Problem:
            raise unavailable(
                "too many passwords are being checked; try again in a second, or use a token",
                headers={"Retry-After": "1"},
            ) from None
        if not fits:
            return None
        with self.pool.transaction() as session:
            user = identity.user_by_name(session, sent.username)
        return _whole(user, "basic") if user and _is_same_name(user.username, sent.username) else None

    def _by_signature(self, session: Session, sent: SentSignature, is_again: bool) -> Caller | None:
        found = identity.signature_key(session, sent.key_name)
        secret = None if found is None else credentials.unseal(found.secret, self.sealing_key())
        now = sent.timestamp if is_again else time.time()  # `is_again`: it let in a request that lasts
        if found is None or secret is None or not credentials.signature_fits(sent, secret, now):
            return None
        # only after the signature: a stranger cannot use up nonces of others
        if not is_again and not identity.take_nonce(
            session, f"{found.user_id}:{sent.nonce}"[:128], 2 * SIGNATURE_WINDOW_SECONDS
        ):
            raise refused("this nonce was used already; sign every request anew")
        caller = caller_of(session, found.user_id, found.token_id)
        if found.token_id is not None:
            identity.note_use(session, found.token_id)
        return caller and caller._replace(method="signature")

    def _by_subject(self, session: Session, claims: dict[str, str]) -> Caller | None:
        user = identity.user_by_subject(session, claims["iss"], claims["sub"])
        if user is None:
            user = identity.user_by_name(session, claims["username"]) if claims["username"] else None
            if user is None or not _is_same_name(user.username, claims["username"]):
                return None
            link = {"issuer": claims["iss"], "subject": claims["sub"]}
            if not session.update("user", link, id=user.id, subject=None):
                return None  # the provider knows this user by another
        return _whole(user, "oidc")

    def sealing_key(self) -> bytes:
        """The key that the secrets of signatures are sealed with. Problem when the file has none."""
        path = self.settings.sealing_key_file
        key = _read(path).strip().encode("ascii", "replace")
        if not credentials.is_sealing_key(key):
            raise unavailable(
                f"the site's {Path(path).name} has no key: it must be 32 bytes in URL-safe base64; report it to"
                " the site's operators"
            )
        return key


def store_token(
    session: Session,
    user_id: int,
    scopes: Sequence[str],
    projects: tuple[int, ...] | None,
    expires: datetime | None,
    note: str,
    *,
    is_session: bool = False,
) -> tuple[identity.Token, NewToken]:
    """Create a token and store what is stored of it."""
    new = credentials.new_token()
    now = datetime.now(UTC)
    ordered = tuple(scope for scope in credentials.SCOPES if scope in {*scopes, "read"})
    once = None if projects is None else tuple(dict.fromkeys(projects))
    token = identity.Token(new.id, user_id, ordered, once, note, now, expires, None, None, is_session)
    identity.add_token(session, token, new.secret_sha256)
    return token, new


def _source_of(request: HTTPConnection) -> str:
    return request.client.host if request.client else ""


def has_token(request: Request) -> bool:
    """Whether the request comes with a token of this service: who sends it is one question to the database."""
    authorization = request.headers.get("authorization") or credentials_of_cookie(request)
    scheme, _, text = authorization.partition(" ")
    return scheme.lower() in ("bearer", "token") and credentials.read_token(text.strip()) is not None


def is_own_page(request: Request) -> bool:
    """Whether a script of our own pages sent it: browsers state that, and let no script change it."""
    return request.headers.get("sec-fetch-site") == "same-origin"


def cookie_name(request: Request) -> str:
    """The cookie's name. With `__Host-` no other host of the domain can set it; browsers take it over TLS only."""
    return "__Host-nucleus" if request.url.scheme == "https" else "nucleus"


def credentials_of_cookie(request: Request) -> str:
    """What the cookie of our own pages stands for, as the header Authorization; '' for requests of other pages."""
    token = request.cookies.get(cookie_name(request)) if is_own_page(request) else None
    return f"Bearer {token}" if token else ""


def caller_of(session: Session, user_id: int, token_id: str | None) -> Caller | None:
    """As whom something was begun that lasts; None when the user is admitted no more, or the token has ended."""
    if token_id is None:
        return _whole(identity.user_by_id(session, user_id), "")
    found = identity.token_use(session, token_id)
    return None if found is None else _of_token(found)


def _of_token(found: TokenUse) -> Caller | None:
    """A caller with the projects and rights of a token that can be used."""
    token, user = found.token, found.user
    if not user.is_active:
        return None
    allowed = user.projects.keys() if token.projects is None else user.projects.keys() & set(token.projects)
    scope = _scope(user, frozenset(token.scopes), frozenset(allowed))
    return Caller(user, scope, token.id, "token", token.expires, token.projects is None)


def _whole(user: User | None, method: str) -> Caller | None:
    """A caller with all the projects of the user, and the rights of every day; an operator has all."""
    if user is None or not user.is_active:
        return None
    return Caller(user, _scope_of_password(user), None, method)


def _scope_of_password(user: User) -> Scope:
    scopes = credentials.SCOPES if user.is_operator else OWNER_SCOPES
    return _scope(user, frozenset(scopes), frozenset(user.projects))


def _is_same_name(ours: str, theirs: str) -> bool:
    """Whether a name of the password file or the identity provider is a user's.

    The database, which ignores accents, finds others, too.
    """
    return ours == theirs or (theirs.isascii() and ours.lower() == theirs.lower())


def _scope(user: User, scopes: frozenset[str], projects: frozenset[int]) -> Scope:
    return Scope(user.id, projects, user.is_operator and "admin" in scopes, scopes | {"read"})


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise unavailable(
            f"the site's {Path(path).name} cannot be read: {reason}; report it to the site's operators"
        ) from None


def refused(detail: str) -> Problem:
    """A 401."""
    return Problem("not-authenticated", detail)


def require(caller: Caller, scope: str) -> None:
    """Problem unless the token allows it."""
    if scope not in caller.scope.scopes:
        raise missing_scope(caller, scope)


def demand_more_than_read(caller: Caller) -> None:
    """Problem for credentials that may only read."""
    if caller.scope.scopes <= {"read"}:
        raise forbidden("your credentials may only read; use a password, or a token that has another scope")


def demand_all_of_password(caller: Caller) -> None:
    """Problem for credentials that allow less than the user's password, but for `LATER_SCOPES`."""
    whole = _scope_of_password(caller.user)
    for scope in credentials.SCOPES:
        if scope in whole.scopes and scope not in {*caller.scope.scopes, *credentials.LATER_SCOPES}:
            raise missing_scope(caller, scope)
    if not caller.is_whole:
        raise forbidden(
            "your credentials are for some projects only; use a password, or a token for all of yours"
        )


def missing_scope(caller: Caller, scope: str) -> Problem:
    """The refusal of what the caller's credentials do not allow: it names what is missing and what is there."""
    if scope == "admin" and not caller.user.is_operator:
        return forbidden("the scope admin is for the site's operators only")
    present = [one for one in credentials.SCOPES if one in caller.scope.scopes]
    is_everyday = scope in OWNER_SCOPES or caller.user.is_operator  # else a password does not give it, either
    return forbidden(
        f"this needs the scope {scope}, and your credentials have {', '.join(present)}",
        remedy=Remedy(
            "get-scope" if is_everyday else "ask-for-scope",
            {"scope": scope, "scopes": ",".join([*present, scope]), "user": caller.actor},
        ),
    )
