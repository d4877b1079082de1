"""What can go wrong, one class for each exit status of the program."""

from __future__ import annotations

from typing import Optional


class CometError(Exception):
    """What happened, to what, and what to do; `exit_status` is that of the program.

    `slug` is the end of a problem's type (`not-enough-nodes`), `http_status` the server's answer, if it was one.
    """

    exit_status = 1
    retry_after: Optional[int] = None
    """Seconds after which the server says that it may be asked again."""

    may_be_done = False
    """Whether the request was sent before, without an answer: then the server may have done it."""

    def __init__(self, message: str, slug: str = "", http_status: Optional[int] = None) -> None:
        super().__init__(message)
        self.slug = slug
        self.http_status = http_status


class UsageError(CometError):
    """The command or the configuration is wrong; nothing was asked of the server, or the server refused its form."""

    exit_status = 2


class AuthenticationError(CometError):
    """No token, or one that the server does not take."""

    exit_status = 3


class NotFoundError(CometError):
    """What was named does not exist, or belongs to another project."""

    exit_status = 4


class RefusedError(CometError):
    """The state of a node, a set or an image, or the site's policy, does not allow it now."""

    exit_status = 5


class UnreachableError(CometError):
    """No answer, or not one of Nucleus: a changing request may have been accepted or not."""

    exit_status = 6


class WaitTimeoutError(CometError):
    """What was waited for did not happen in time; it goes on."""

    exit_status = 7


class OperationFailedError(CometError):
    """Accepted, but it failed later."""

    exit_status = 8


class SomeNodesFailedError(CometError):
    """Of several nodes some succeeded and some failed."""

    exit_status = 9


NO_NUCLEUS = "no-nucleus"
"""Slug of a 400, 404 or 405 that is not JSON: of another program, such as a proxy.

Also of the published Nucleus, where it lacks a path.
"""

TICKET_USED = "ticket-used"
"""Slug of the refusal of a console's ticket: it opens one console, once, for a short time."""


def is_of_published_nucleus(error: CometError) -> bool:
    """Whether it does not know a path or a method: ours gives its errors a slug, the published one does not."""
    return not error.slug and error.http_status in (404, 405)


_BY_STATUS = {401: AuthenticationError, 404: NotFoundError, 403: NotFoundError, 422: UsageError}
_BY_SLUG = {
    "invalid-request": UsageError,
    "quota-exceeded": RefusedError,
    "acknowledgement-needed": RefusedError,
    "bad-allocation": RefusedError,
    "key-reused": RefusedError,
}
"""Of problems that mean something else than their status."""


def error_of_answer(status: int, slug: str, message: str) -> CometError:
    """The error that an answer of 400 or more means; a known slug decides before the status."""
    kind = (
        _BY_SLUG.get(slug) or _BY_STATUS.get(status) or (UnreachableError if status >= 500 else RefusedError)
    )
    return kind(message, slug, status)
