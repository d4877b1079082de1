"""A refusal of the server as an error, with advice in commands of this program."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any, Optional

from comet.client.errors import NO_NUCLEUS, AuthenticationError, CometError, error_of_answer

_SIGN_IN = (
    "Sign in again: comet init, or comet init --token-file=FILE with a new token of the site's operators"
)
"""What to do about credentials that a server does not take."""

_REMEDIES = {
    "list-projects": "List yours: comet ll",
    "list-tokens": "List them: comet token list",
    "list-operations": "List them: comet operation list",
    "acknowledge": "Read and acknowledge it: comet acknowledge",
    "get-scope": "Sign in with your password (comet init), where scripts need it make a token with it (comet token "
    "create --scopes={scopes}), or ask the site's operators for one: nucleus token create {user} --scope {scope}",
    "ask-for-scope": "Ask the site's operators for a token that has it: nucleus token create {user} --scope {scope}",
    "eject-image": "Take it out first: {targets}. A machine that is on keeps it until it is off",
}
"""The codes of Nucleus' remedies, in commands of `comet`."""

_OF_SHAPES = "the request is not valid"
"""How the message begins of which `errors` has all: a place and what is right there, for each value."""

_OF_INTERFACE = {
    "there is nothing at this path": "the server has nothing at this address: compare that of comet active, or of "
    "COMET_ENDPOINT, with the one that you were given",
    "the request names nobody": "the server was sent no token, and COMET_TOKEN is not set",
}
"""How messages begin that Nucleus has for programs, and the words for somebody at a terminal."""

_OPTIONS = {
    "walltime_mins": "--walltime",
    "memory_gb": "--memory",
    "public_key": "--key",
    "vc": "the cluster image",
    "computes": "the list of computes",
    "map": "the new name",
    **{
        it: f"--{it}"
        for it in (
            *("count", "allocation", "reservation", "begin", "end", "repeat", "until", "cpus", "ent"),
            *("scopes", "projects", "days", "note", "types"),
        )
    },
}
"""Field of a request → what an owner calls it."""


def error_of(status: int, headers: Message, body: bytes) -> CometError:
    """The error that an answer of 400 or more means, with advice in commands of this program."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, str):  # of the published Nucleus
        document = {"detail": document}
    known = document if isinstance(document, dict) else {}
    slug = str(known.get("type") or "").rpartition("/")[2]
    remedy = _remedy_of(known)
    message = str(known.get("detail") or known.get("title") or f"the server answers {status}")
    if remedy:
        message = str(known["reason"])
    if message.startswith(_OF_SHAPES):  # others say in words of their own what is wrong
        message = _wrong_values(known.get("errors")) or message
    message = next((text for begin, text in _OF_INTERFACE.items() if message.startswith(begin)), message)
    if status in (400, 404, 405) and document is None:  # of another program
        slug = NO_NUCLEUS
        if status == 404:
            message = "there is no Nucleus at this address: compare it with the one that you were given (comet active)"
    if status == 413 and document is None:
        message = (
            "a proxy before the server refuses a request of this size: report it to the site's operators"
        )
    error = error_of_answer(status, slug, message)
    advice = remedy or (_SIGN_IN if isinstance(error, AuthenticationError) else "")
    if advice:
        error.args = (f"{message.rstrip('.')}. {advice}",)
    error.retry_after = _seconds_to_wait(headers)
    return error


def _seconds_to_wait(headers: Message) -> Optional[int]:
    """What Retry-After states: seconds, or a moment by the server's clock (RFC 9110). None for what is too long."""
    stated = headers.get("Retry-After", "")
    if re.fullmatch("[0-9]{1,4}", stated):
        return int(stated)
    moment, now = _moment(stated), _moment(headers.get("Date", "")) or datetime.now(timezone.utc)
    seconds = math.inf if moment is None else math.ceil((moment - now).total_seconds())
    return max(0, int(seconds)) if seconds < 10_000 else None


def _moment(text: str) -> Optional[datetime]:
    """The moment of a header; None for what is none."""
    try:
        found = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):  # TypeError: Python below 3.10
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _wrong_values(errors: Any) -> str:
    """What is wrong, once for each option of this program; '' where the server names no values."""
    found: dict[str, None] = {}
    for entry in errors if isinstance(errors, list) else ():
        if isinstance(entry, dict) and entry.get("detail"):
            field = str(entry.get("pointer", "")).removeprefix("#/").removeprefix("query/").partition("/")[0]
            found[f"{_OPTIONS.get(field, field)}: {entry['detail']}"] = None
    return "; ".join(found)


def _remedy_of(document: Mapping[str, Any]) -> Optional[str]:
    """What to do, as commands of this program; None where the server states none, or one that is not known here."""
    given = document.get("remedy")
    if not isinstance(given, dict) or not isinstance(document.get("reason"), str):
        return None
    values = {key: it for key, it in given.items() if isinstance(it, str)}
    targets = given.get("targets")
    if isinstance(targets, list) and targets:
        from shlex import join  # late: few refusals have targets

        # in quotes, since zsh takes vm-[0-1] for names of files
        values["targets"] = ", ".join(f"comet iso detach {join(str(it).split())}" for it in targets)
    try:
        return _REMEDIES[values["code"]].format_map(values)
    except KeyError:
        return None
