"""What an owner does with virtual clusters, as a Python class. Errors: comet.client.errors."""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union
from urllib.parse import SplitResult, urlsplit

from comet.client import configuration, records
from comet.client.cache import Cache
from comet.client.configuration import Endpoint, checked_token
from comet.client.connection import Answer, Connection, decoded
from comet.client.durations import walltime_to_minutes
from comet.client.errors import (
    NO_NUCLEUS,
    AuthenticationError,
    CometError,
    NotFoundError,
    RefusedError,
    SomeNodesFailedError,
    UnreachableError,
    UsageError,
    is_of_published_nucleus,
)
from comet.client.hostlists import check_names, expand_hostlist
from comet.client.records import (
    ClusterRecord,
    Computeset,
    Console,
    Node,
    Operation,
    Outcome,
    Started,
    bad_answer,
)
from comet.client.views import node_rows, part_of_rows, summary

if TYPE_CHECKING:
    from comet.client.events import Event


# How a Nucleus is asked: reads with a cache, changes with a key, operations by long polls.

_OPERATION = re.compile(r"[0-9A-Za-z]{1,64}")
_RESTART_SECONDS = 60
_RESTART_PAUSE_SECONDS = 1.0
_SILENCE_SECONDS = 2.0
"""The next answer of the same list is asked for within it: a silent server is waited for once."""

Self = TypeVar("Self", bound="Requests")


class Requests:
    """One endpoint and its cache; Client gives it an owner's words."""

    def __init__(
        self,
        endpoint: Union[str, Endpoint, None] = None,
        token: Optional[str] = None,
        config: Union[str, Path, None] = None,
        timeout: float = 30,
        cache: Optional[Cache] = None,
        cached_only: bool = False,
    ) -> None:
        if not isinstance(endpoint, Endpoint):
            loaded = configuration.load(Path(config) if config else None)
            endpoint = loaded.endpoint(endpoint or "", {"COMET_TOKEN": token} if token else os.environ)
        self.endpoint, self.cache, self.cached_only = endpoint, cache, cached_only
        self.connection = Connection(endpoint, timeout)
        self.cached_at: Optional[float] = None
        self.goes_on = False
        """Whether something was asked for, or waited for, that goes on without this program."""
        self._silent_at = -math.inf

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.connection.close()
        if self.cache is not None:
            self.cache.close()

    def document(self, *segments: object, query: Iterable[tuple[str, str]] = (), fresh: bool = False) -> Any:
        """The JSON document of a GET, from the server or (not with `fresh`) from the cache, whose `stale` are true."""
        path = self.connection.path(*segments, query=query)
        cache = None if fresh else self.cache
        known = cache.get(path) if cache else None
        is_silent = known is not None and time.monotonic() < self._silent_at + _SILENCE_SECONDS
        try:
            if self.cached_only or is_silent:
                raise UnreachableError(
                    f"{path} was not asked before, so the cache does not have it: leave out --cached"
                )
            condition = {"If-None-Match": known.etag} if known and known.etag else None
            answer = self.connection.request("GET", path, headers=condition)
            if answer.status == 304 and known and cache:
                cache.confirm(path)
                return decoded(known.body)
            found = decoded(answer.body)
        except UnreachableError:
            if known is None:
                raise
            self.cached_at = min(known.asked_at, self.cached_at or known.asked_at)
            if not is_silent:
                self._silent_at = time.monotonic()
            return decoded(known.body, _called_stale)
        if cache:
            cache.put(path, answer.body, answer.headers.get("ETag", ""))
        return found

    def follow(self, identifier: str, seconds: float) -> Operation:
        """An operation when it is done, or after so many seconds (the server holds its answer back as long)."""
        self.goes_on = True
        whole = max(0, min(30, int(seconds)))
        query = [("wait", str(whole))] if whole else []
        path = self.connection.path("operation", checked_operation(identifier), query=query)
        return records.read_operation(decoded(self.connection.request("GET", path, patience=whole).body))

    def demand_server(self) -> None:
        """Before a change: UsageError if nothing is asked of the server, UnreachableError after an old answer."""
        if self.cached_only:
            raise UsageError("--cached never asks the server, so it changes nothing: leave it out")
        if self.cached_at is not None:  # the image of a number is another one by now
            raise UnreachableError(
                f"{self.endpoint.url} did not answer what this change depends on, so nothing was changed: "
                "repeat the command"
            )

    def change(
        self,
        method: str,
        segments: Sequence[object],
        body: Optional[dict[str, Any]] = None,
        query: Iterable[tuple[str, str]] = (),
        key: Optional[str] = None,
    ) -> Answer:
        """A changing request, with a key by which the server knows a repetition: by the caller, with a given `key`.

        A server whose connection broke before its answer is asked again, for as long as it takes to start: it may have
        done it.
        """
        self.demand_server()
        self.goes_on = True
        path = self.connection.path(*segments, query=query)
        headers = {"Prefer": "respond-async", "Idempotency-Key": key or os.urandom(16).hex()}
        until = time.monotonic() + _RESTART_SECONDS
        has_broken = False
        while True:
            try:
                return self.connection.request(method, path, body, headers)
            except UnreachableError as error:
                has_broken = has_broken or self.connection.has_broken(error)
                if not has_broken or time.monotonic() + _RESTART_PAUSE_SECONDS > until:
                    if key:
                        error.args = (
                            f"{error}. If it is done all the same, the same command again continues",
                        )
                    elif has_broken or self.connection.is_unknown(error):
                        error.args = (
                            f"{error}. It may be done all the same: look before you repeat it (comet operation list)",
                        )
                    raise
                time.sleep(_RESTART_PAUSE_SECONDS)
            except CometError as error:
                error.may_be_done = error.may_be_done or has_broken
                raise


def _called_stale(document: dict[str, Any]) -> dict[str, Any]:
    """The server has not confirmed this answer, whatever it knew of the site then."""
    return {**document, "stale": True} if "stale" in document else document


def checked_operation(identifier: str) -> str:
    if not _OPERATION.fullmatch(identifier):
        raise UsageError(f"'{identifier}' is not an operation's id: list them with comet operation list")
    return identifier


# The clusters, computesets, nodes, images and operations of an owner.


Nodes = Union[str, Sequence[str]]
"""A hostlist, or names."""

ACTIONS = ("on", "off", "reboot", "reset", "shutdown")
_PATHS = {"on": "poweron", "off": "poweroff", "reboot": "reboot", "reset": "reset", "shutdown": "shutdown"}
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}\.iso")


class Client(Requests):
    """A Nucleus, as one of its users. Close it, or use it as a context.

    `endpoint` is a name of the configuration, an address, or an Endpoint. With a `cache` the answers to reads are kept,
    and given when the server cannot be reached: `cached_at` then says from when, in seconds since 1970, and until it is
    None again nothing is changed. With `cached_only` nothing is asked of the server. Without one an unreachable server
    is an error.
    """

    # reads

    def clusters(self) -> list[ClusterRecord]:
        """The clusters of the caller's projects."""
        found = self.document("cluster", "")
        return [records.read_cluster(it) for it in records.read_list(found, "clusters")]

    def cluster(self, name: str) -> ClusterRecord:
        return records.read_cluster(self.document("cluster", name, ""))

    def node_info(self, cluster: str, node: Optional[str] = None) -> Node:
        """A compute, or the frontend."""
        if node is None:
            return records.read_node(self.document("cluster", cluster, "frontend", ""), "frontend", cluster)
        return records.read_node(self.document("cluster", cluster, "compute", node, ""), "compute", cluster)

    def computesets(
        self,
        state: Union[str, Sequence[str], None] = "running",
        cluster: Optional[str] = None,
        allocation: Optional[str] = None,
    ) -> list[Computeset]:
        """Sets in a state or states (None: all that ever were), of a cluster, of an allocation."""
        states = [state] if isinstance(state, str) else list(state or ())
        found = self.document("computeset", "", query=[("state", it) for it in states])
        sets = [records.read_computeset(it) for it in records.read_list(found, "computesets")]
        return [it for it in sets if records.is_of(cluster, it) and allocation in (None, it.account)]

    def computeset(self, number: int) -> Computeset:
        return records.read_computeset(self.document("computeset", number, ""))

    def usage(
        self, begin: Optional[str] = None, end: Optional[str] = None, by: Optional[str] = None
    ) -> list[dict[str, Any]]:
        """What computesets that ended from `begin` on and before `end` (RFC 3339) were charged, in seconds of nodes.

        With `by="day"`, which needs both, each day (UTC) has objects of its own, with the key `day`.
        """
        query = [(name, it) for name, it in (("from", begin), ("to", end), ("by", by)) if it is not None]
        found = records.read_list(self.document("usage", query=query), "charges")
        return [it for it in found if isinstance(it, dict)]

    def isos(self) -> list[str]:
        """Images by their wire names: `public/debian.iso`."""
        return [str(it) for it in records.read_list(self.document("image"), "images")]

    def simple_list(self, name: Optional[str] = None) -> list[dict[str, Any]]:
        """A row for each cluster: `comet ll`."""
        return [summary(it) for it in ([self.cluster(name)] if name else self.clusters())]

    def view(self, name: Optional[str] = None, view: str = "full") -> list[dict[str, Any]]:
        """A row for each node with its set and allocation, as `comet cluster`; a `concise` or `status` one has less."""
        clusters = [self.cluster(name)] if name else self.clusters()
        busy = any(it.computeset is not None for cluster in clusters for it in cluster.computes)
        sets = self.computesets(records.LIVING_STATES) if busy else []
        return part_of_rows([row for it in clusters for row in node_rows(it, sets)], view)

    def operation(self, identifier: str) -> Operation:
        return records.read_operation(self.document("operation", identifier, fresh=True))

    def operations(self, state: Optional[str] = None, target: Optional[str] = None) -> list[Operation]:
        query = _without_none({"state": state, "target": target})
        found = self.document("operation", "", query=query.items())
        return [records.read_operation(it) for it in records.read_list(found, "operations")]

    # changes

    def start(
        self,
        cluster: str,
        nodes: Optional[Nodes] = None,
        count: Optional[int] = None,
        allocation: Optional[str] = None,
        walltime: Union[str, int, None] = "2d",
        reservation: Optional[str] = None,
        hosts: Optional[str] = None,
        idempotency_key: Optional[str] = None,
    ) -> Started:
        """Start computes together: `nodes`, or any `count` of them.

        Walltime such as `6h`, or minutes as a number; None: the site's.
        """
        body = _new_set(cluster, nodes, count, allocation, walltime, reservation, hosts)
        with _walltime_as_given(walltime, body):
            answer = self.change("POST", ("computeset", ""), body, key=idempotency_key)
        return Started(_set_of(answer), self._operation_of(answer))

    def estimate(
        self,
        cluster: str,
        nodes: Optional[Nodes] = None,
        count: Optional[int] = None,
        allocation: Optional[str] = None,
        walltime: Union[str, int] = "2d",
        reservation: Optional[str] = None,
    ) -> dict[str, Any]:
        """What `start` would make, its cost, and its start as the server estimates it; refused alike."""
        body = _new_set(cluster, nodes, count, allocation, walltime, reservation)
        self.demand_server()
        with _walltime_as_given(walltime, body):
            answer = self.connection.request("POST", self.connection.path("computeset", "estimate"), body)
        return records.read_object(decoded(answer.body), "an estimate")

    def extend(self, number: int, walltime: Union[str, int]) -> Optional[Operation]:
        """Have a set run for so long in all: `12h`, or minutes as a number."""
        minutes = walltime if isinstance(walltime, int) else walltime_to_minutes(walltime)
        answer = self.change("PATCH", ("computeset", number), {"walltime_mins": minutes})
        return self._operation_of(answer)

    def merge(self, number: int, other: int) -> None:
        """Merge another set into this one; this cannot be undone."""
        self.change("POST", ("computeset", number, "merge"), {"computeset": other})

    def terminate(self, number: int, hard: bool = False) -> Optional[Operation]:
        """End a set: its nodes are shut down (or switched off, with `hard`), and their disks are written back."""
        answer = self.change("PUT", ("computeset", number, "poweroff" if hard else "shutdown"))
        return self._operation_of(answer)

    def power(
        self, cluster: str, action: str, nodes: Optional[Nodes] = None, computeset: Optional[int] = None
    ) -> list[Outcome]:
        """Power of a frontend (neither nodes nor a set), of nodes of running sets, or of a whole set.

        SomeNodesFailedError if some failed; if all did, the first node's error.
        """
        return _checked(self.power_each(cluster, action, nodes, computeset))

    def power_each(
        self, cluster: str, action: str, nodes: Optional[Nodes] = None, computeset: Optional[int] = None
    ) -> Iterator[Outcome]:
        """As `power`, one node after the other; an error is in its outcome."""
        if action not in ACTIONS or (computeset is not None and action == "on"):
            raise UsageError(
                f"power {action}: choose one of {', '.join(ACTIONS)}; a computeset is started by start"
            )
        if computeset is not None:
            yield self._outcome(f"computeset {computeset}", "PUT", ("computeset", computeset, _PATHS[action]))
            return
        for target, segments in _targets(cluster, nodes):
            yield self._outcome(target, "PUT", (*segments, _PATHS[action]))

    def attach_iso(self, cluster: str, image: str, nodes: Optional[Nodes] = None) -> list[Outcome]:
        """Put an image into the drive of the frontend, or of nodes, from the next power-on. `image`: a wire name.

        Its order is this one, image before nodes; `cluster=`, `nodes=` and `image=` may be in any.
        """
        return _checked(self.attach_each(cluster, image, nodes))

    def detach_iso(self, cluster: str, nodes: Optional[Nodes] = None) -> list[Outcome]:
        return _checked(self.attach_each(cluster, "", nodes))

    def attach_each(self, cluster: str, image: str, nodes: Optional[Nodes] = None) -> Iterator[Outcome]:
        for target, segments in _targets(cluster, nodes):
            yield self._outcome(target, "PUT", (*segments, "attach_iso"), query=[("iso_name", image)])

    def reinstall_each(
        self, cluster: str, nodes: Optional[Nodes] = None, image: Optional[str] = None
    ) -> Iterator[Outcome]:
        """Fresh disks for the frontend, or for nodes, made at their next power-on; an error is in its outcome."""
        for target, segments in _targets(cluster, nodes):
            body = _without_none({"confirm": target, "image": image})
            yield self._outcome(target, "POST", (*segments, "reinstall"), body)

    def clone_each(self, cluster: str, original: str, nodes: Nodes) -> Iterator[Outcome]:
        """Clones of the disk of a compute for others of its cluster; an error is in its outcome."""
        for target, segments in _targets(cluster, nodes):
            yield self._outcome(
                target, "POST", (*segments, "clone"), {"confirm": target, "original": original}
            )

    def upload_iso(
        self,
        path: Union[str, Path],
        name: Optional[str] = None,
        project: Optional[str] = None,
        progress: Optional[Callable[[int, int], None]] = None,
    ) -> Outcome:
        """Upload an image under its file name or another, for a project; the operation puts it into the library.

        `progress(bytes sent, bytes in all)`. Who is in one project only need not name it.
        """
        from comet.client.uploads import upload

        self.demand_server()
        try:
            Path(path).stat()  # before its name is looked at, which may be mistyped
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"{path} cannot be read: {reason}") from None
        chosen = name or Path(path).name
        if not _IMAGE.fullmatch(chosen):
            raise UsageError(
                f"'{chosen}' is not an image's name: letters, digits and . _ + - with .iso at the end (--isoname=NAME)"
            )
        answer = upload(self.connection, Path(path), chosen, project, progress or (lambda sent, total: None))
        return Outcome(chosen, self._operation_of(answer))

    def delete_iso(self, image: str) -> Outcome:
        """Delete an image, by its wire name. RefusedError while a machine has it in its drive."""
        return Outcome(image, self._operation_of(self.change("DELETE", ("image", *image.split("/")))))

    def rename(self, cluster: str, mapping: Mapping[str, str]) -> None:
        """Give computes other names, all at once, so that two may swap theirs. Rocks' names and the guests' stay.

        The published Nucleus renames one after the other: two cannot swap, and SomeNodesFailedError if some failed.
        """
        check_names(mapping.values())
        try:
            self.change("POST", ("cluster", cluster, "rename"), {"map": dict(mapping)})
        except CometError as error:
            if (
                error.slug == NO_NUCLEUS and error.http_status == 404
            ):  # also of what is no Nucleus, which does not know the cluster either
                self.document("cluster", cluster, "", fresh=True)
            elif not is_of_published_nucleus(error):
                raise
            _checked(self._renamed_each(cluster, mapping))

    def _renamed_each(self, cluster: str, mapping: Mapping[str, str]) -> list[Outcome]:
        """An outcome for each; an error that ends it names those that are renamed already."""
        found: list[Outcome] = []
        place = ("cluster", cluster, "compute")
        for old, new in mapping.items():
            try:
                found.append(self._outcome(old, "POST", (*place, old, "rename"), {"name": new}))
            except CometError as error:
                renamed = [f"{it.target} -> {mapping[it.target]}" for it in found if it.error is None]
                if renamed:
                    error.args = (f"{old}: {error}; renamed before: {', '.join(renamed)}",)
                raise
        return found

    def console(self, cluster: str, node: Optional[str] = None, kind: str = "vnc") -> Console:
        """A ticket for a console, `vnc` or `serial`."""
        (target,) = _targets(cluster, None if node is None else [node])
        try:
            found = decoded(self.change("POST", (*target[1], "console"), {"type": kind}).body)
        except CometError as error:
            if not is_of_published_nucleus(error):
                raise
            raise RefusedError(
                f"{self.endpoint.url} is the published Nucleus, which gives no console to this program: "
                "use the published client"
            ) from error
        given = [found.get(it) if isinstance(found, dict) else None for it in ("page_url", "ws_url")]
        if not all(isinstance(it, str) for it in given):
            raise records.bad_answer("it has no console's addresses")
        page, socket = (self._own_address(str(it)) for it in given)
        return Console(
            page.geturl(),
            socket._replace(scheme="", netloc="", fragment="").geturl(),
            str(found.get("expires_at", "")),
        )

    def _own_address(self, text: str) -> SplitResult:
        """An address of the server's answer, on the configured server: the ticket goes there and nowhere else."""
        ours = urlsplit(self.endpoint.url)
        try:
            found = urlsplit(text)
        except ValueError as error:
            raise records.bad_answer(f"an address is none: {error}") from error
        if not re.fullmatch(r"[!-~]+", text):
            raise records.bad_answer("an address has characters that it cannot have")
        return found._replace(scheme=ours.scheme, netloc=ours.netloc, path=f"/{found.path.lstrip('/')}")

    def cancel(self, identifier: str) -> None:
        """Cancel an operation that is still queued."""
        self.change("DELETE", ("operation", checked_operation(identifier)))

    def wait(self, thing: Any, timeout: float = 3600) -> None:
        """Until what was asked for has happened: an Operation, a Started set, an Outcome, or several of them."""
        from comet.client.waiting import Waiter

        Waiter(self, timeout).follow(thing)

    def events(
        self, cluster: Optional[str] = None, types: Sequence[str] = (), after: str = "", follow: bool = True
    ) -> Iterator[Event]:
        """Events as they happen, over broken connections. `after`: an event's id, "0" for all kept.

        Without `follow` only those that the server keeps, an hour's or more.
        """
        from comet.client.events import events

        return events(self.connection, cluster, types, after, follow)

    # reservations of sites

    def reservations(self) -> list[dict[str, Any]]:
        """The caller's, each with its intervals."""
        found = records.read_list(self.document("reservation"), "reservations")
        return [it for it in found if isinstance(it, dict)]

    def reserve(self, requested: Mapping[str, Any]) -> dict[str, Any]:
        """Reserve a site: the fields are those of POST /v1/reservation. What was made of it."""
        answer = self.change("POST", ("reservation",), _without_none(requested))
        return records.read_object(decoded(answer.body), "a reservation")

    def cancel_reservation(self, number: int) -> None:
        self.change("DELETE", ("reservation", number))

    # the user

    def acknowledgement(self) -> dict[str, Any]:
        """What an owner is responsible for: text, version, acknowledged_at (None: not yet)."""
        found = self.document("user", "acknowledgement", fresh=True)
        if not isinstance(found, dict) or not isinstance(found.get("text"), str):
            raise records.bad_answer("it has no text to acknowledge")
        return found

    def acknowledge(self, version: str) -> None:
        """State that the text of this version was read: the site may ask for it before the first power-on."""
        self.change("PUT", ("user", "acknowledgement"), {"version": version})

    def tokens(self) -> list[dict[str, Any]]:
        """The caller's tokens, without their secrets."""
        found = records.read_list(self.document("token", ""), "tokens")
        return [it for it in found if isinstance(it, dict)]

    def create_token(
        self,
        scopes: Sequence[str] = (),
        note: str = "",
        days: Optional[int] = None,
        projects: Sequence[str] = (),
    ) -> dict[str, Any]:
        """A new token: it is in the answer's `token`, this once."""
        given = {"scopes": list(scopes) or None, "projects": list(projects) or None, "days": days}
        body = {"note": note, **_without_none(given)}
        answer = self.change("POST", ("token", ""), body)
        return records.read_object(decoded(answer.body), "a token")

    def revoke_token(self, identifier: str) -> None:
        self.change("DELETE", ("token", identifier))

    # what became of it

    def _outcome(self, target: str, *arguments: Any, **named: Any) -> Outcome:
        try:
            return Outcome(target, self._operation_of(self.change(*arguments, **named)))
        except (RefusedError, NotFoundError) as error:
            return Outcome(target, None, error)

    def _operation_of(self, answer: Answer) -> Optional[Operation]:
        """The operation that a change became: its body, or the one that its header names."""
        if answer.status == 202 and answer.body:
            return records.read_operation(decoded(answer.body))
        where = answer.headers.get("Operation-Location", "")
        return self.operation(checked_operation(where.rstrip("/").rpartition("/")[2])) if where else None


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _new_set(
    cluster: str,
    nodes: Optional[Nodes],
    count: Optional[int],
    allocation: Optional[str],
    walltime: Union[str, int, None],
    reservation: Optional[str],
    hosts: Optional[str] = None,
) -> dict[str, Any]:
    """The body of a request for a set."""
    if (nodes is None) == (count is None) or (count is not None and count < 1):
        raise UsageError(f"start {cluster}: name nodes (vm-0 or vm-[0-3]), or a count of at least 1")
    minutes = walltime_to_minutes(walltime) if isinstance(walltime, str) else walltime
    named = None if nodes is None else _names(nodes)
    body = {"cluster": cluster, "walltime_mins": minutes, "count": count, "allocation": allocation}
    return _without_none({**body, "reservation": reservation, "hosts": hosts, "computes": named})


@contextlib.contextmanager
def _walltime_as_given(walltime: Union[str, int, None], body: dict[str, Any]) -> Iterator[None]:
    """A refusal names the walltime as it was given: the minutes that were sent are not all of a very long one."""
    try:
        yield
    except CometError as error:
        if isinstance(walltime, str):
            named = rf"\bwalltime of {body['walltime_mins']} minutes( or more)?"
            error.args = (re.sub(named, f"walltime of {walltime}", str(error)),)
        raise


def _names(nodes: Nodes) -> list[str]:
    return expand_hostlist(nodes) if isinstance(nodes, str) else list(nodes)


def _targets(cluster: str, nodes: Optional[Nodes]) -> list[tuple[str, tuple[str, ...]]]:
    """(what to call it, words of its path) of the frontend, or of every node."""
    if nodes is None:
        return [(cluster, ("cluster", cluster, "frontend"))]
    return [(name, ("cluster", cluster, "compute", name)) for name in _names(nodes)]


def _checked(outcomes: Iterable[Outcome]) -> list[Outcome]:
    found = list(outcomes)
    failed = [it for it in found if it.error]
    if failed and len(failed) == len(found) and failed[0].error:
        raise failed[0].error
    if failed:
        raise SomeNodesFailedError("; ".join(f"{it.target}: {it.error}" for it in failed))
    return found


def _set_of(answer: Answer) -> int:
    """The id of a set that was accepted: in Location, else in the body."""
    found = re.search(r"/computeset/([0-9]{1,18})/?$", answer.headers.get("Location", ""))
    if found:
        return int(found[1])
    document = decoded(answer.body)
    number = (
        document.get("id" if answer.status == 201 else "computeset") if isinstance(document, dict) else None
    )
    if not isinstance(number, int):
        raise records.bad_answer("it does not say which computeset was made")
    return number


# A token for a user's name and password (rest-auth).


def logon(endpoint: Endpoint, password: str, timeout: float = 30) -> str:
    """The new token. AuthenticationError if the server does not take name and password; RefusedError as it says."""
    body = {"username": endpoint.username, "password": password}
    try:
        with contextlib.closing(Connection(endpoint._replace(password=""), timeout)) as connection:
            path = connection.outer_path("rest-auth", "login", "")
            found = decoded(connection.request("POST", path, body, repeat=False).body)
    except (AuthenticationError, RefusedError) as error:
        if isinstance(error, RefusedError) and error.slug:  # the published one refuses a password without it
            raise
        raise AuthenticationError(
            f"the server does not take {endpoint.username} and this password: {error}"
        ) from error
    if not isinstance(found, dict) or not isinstance(found.get("key"), str):
        raise bad_answer("it has no token")
    return checked_token(found["key"])


def logoff(endpoint: Endpoint, timeout: float = 30) -> None:
    """End the endpoint's token."""
    with contextlib.closing(Connection(endpoint, timeout)) as connection:
        connection.request("POST", connection.outer_path("rest-auth", "logout", ""), b"", repeat=False)
