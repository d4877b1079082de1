"""Parts: what owners use besides, each in one folder. It registers here all that it adds to the service.

A folder of the package `owners` is a part, and its module has `PART`; what is there is in use. A site without that
package polls, answers what it has polled, and does what is asked for. Parts do not know each other.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from fastapi import APIRouter, Request
    from starlette.responses import Response

    from nucleus.api.problems import Problem
    from nucleus.api.service import Change
    from nucleus.configuration import Configuration
    from nucleus.mirror.pool import Pool, Session
    from nucleus.operations.job import Job
    from nucleus.records import Cluster, JsonObject, NewEvent, Node


class Command(NamedTuple):
    """A command of `nucleus`: its line of help, and its module.

    The module has `add_arguments`, and `run`, which returns the exit status and raises RocksError.
    """

    line: str
    module: str


class Alarm(NamedTuple):
    """What needs an operator: its kind, of how many it is true now, and the lines of `nucleus status` about them.

    One without a kind is in no metric.
    """

    kind: str
    number: int
    lines: Callable[[Configuration], Sequence[str]]


class Verifier(Protocol):
    """Checks tokens of the site's identity provider, and knows how people sign in there."""

    def claims(self, text: str, nonce: str = "") -> dict[str, str]:
        """iss, sub and username of a valid token. Problem 401 for another, 503 when the provider does not answer.

        With a nonce, the token must be the answer to the question that had it.
        """

    def sign_in_url(self, redirect: str, state: str, verifier: str, nonce: str) -> str:
        """Where the provider asks who somebody is. Problem 503 when it does not answer."""

    def exchange(self, code: str, redirect: str, verifier: str) -> str:
        """The token about who has signed in, which `claims` checks. Problem 401 for a code that does not count."""


class Polled(NamedTuple):
    """What the commands of a poll have printed that is not of clusters; None: not asked, or without an answer."""

    hosts: Collection[str] | None
    """Names of the physical hosts."""

    library: Mapping[str, int] | None
    """ISO images of the site's library → bytes."""


@dataclass(frozen=True)
class Part:
    """What a part adds. What takes long to import is imported by the functions."""

    routers: Callable[[], Sequence[APIRouter]] = tuple
    """Its routers of the REST interface, in this order."""

    unknown: Mapping[str, Callable[[str], Problem]] = field(default_factory=dict)
    """Noun of a path → the refusal of a text that names nothing of it."""

    verbs: Callable[[], Mapping[str, Callable[[Job], JsonObject]]] = dict
    """Kind of an operation → what does it."""

    loop: Callable[[Configuration, Pool], Callable[[threading.Event], None]] | None = None
    """What runs until the event is set, with a `Guard` of the part's name; UserError where it cannot."""

    migrations: str = ""
    """The package with the folder `migrations`, whose numbers nobody else has."""

    gauges: Callable[[Session], Mapping[str, Mapping[tuple[str, ...], float]]] = lambda _: {}
    """Gauge of `api.metrics` → state → how many."""

    alarms: Callable[[Session], Sequence[Alarm]] = lambda _: ()
    may_act: Callable[[Change, str, Cluster, Sequence[Node]], None] = lambda *_: None
    """Problem when an action (of power, or attach_iso) may not be done to one of the nodes of a cluster."""

    on_poll: Callable[[Session, Collection[str]], Callable[[Session, Polled], Sequence[NewEvent]]] = (
        lambda *_: lambda *_: ()
    )
    """Is called before the commands of a poll begin, with the names of their sources.

    What it returns stores what they have printed, in the transaction of the poll; the events of that.
    """

    names_of_media: Callable[[Session], Mapping[str, str]] = lambda _: {}
    """What `rocks` lists of a drive → the name by which owners refer to that image."""

    files: Callable[[Configuration], Mapping[str, Path]] = lambda _: {}
    """Path below /assets → the folder with the files that are served there."""

    verifier: Callable[[Configuration], Verifier | None] = lambda _: None
    """What checks tokens of the site's identity provider; None where it has none."""

    page_of_refusal: Callable[[Problem, Request], Response | None] = lambda *_: None
    """The page for a person whose browser followed a link; None where it is a program that asked."""

    commands: Mapping[str, Command] = field(default_factory=dict)
    """Command of `nucleus` → what it is."""


@functools.cache
def installed() -> Mapping[str, Part]:
    """Name → the part, of those that are there, by name."""
    try:
        owners = importlib.import_module("owners")
    except ModuleNotFoundError:
        return {}
    names = sorted(one.name for one in pkgutil.iter_modules(owners.__path__))
    return {name: importlib.import_module(f"owners.{name}").PART for name in names}
