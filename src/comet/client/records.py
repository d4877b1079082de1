"""What Nucleus answers, as frozen records. A document of another shape is an error, not a guess.

Each `read_…` takes a decoded JSON document. Fields that this version does not know are left aside: the server may add
some. A field that is missing or null is None or empty.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple, Optional, TypeVar

from comet.client.errors import CometError, UnreachableError

T = TypeVar("T", str, int, bool)
R = TypeVar("R")
_KINDS: dict[str, Any] = {"str": str, "int": int, "bool": bool}

LIVING_STATES = ("created", "submitted", "running", "ending")
"""The states of computesets that still have their computes."""
TERMINAL_STATES = ("completed", "cancelled", "failed")
DONE_OPERATIONS = ("succeeded", "failed", "cancelled")
_LARGEST = 1 << 63
"""Larger numbers count nothing, and have no float."""


class Interface(NamedTuple):
    """A network interface of a node."""

    mac: str = ""
    iface: str = ""
    ip: Optional[str] = None


class Node(NamedTuple):
    """A frontend or a compute. `disk_state` (ready, syncing, synced) is its disk's; `image_state` is its image's.

    The fields from `pub_ip` to `ntp` belong to frontends, `computeset` and `computeset_state` to computes. Memory in
    MB, disk size in GB.
    """

    name: str
    kind: str
    cluster: str
    type: Optional[str]
    state: Optional[str]
    power: str
    memory: Optional[int]
    cpus: Optional[int]
    disksize: Optional[int]
    disk_state: Optional[str]
    image_state: Optional[str]
    interfaces: tuple[Interface, ...]
    computeset: Optional[int] = None
    computeset_state: Optional[str] = None
    host: Optional[str] = None
    admin_disabled: bool = False
    iso: Optional[str] = None
    iso_active: Optional[str] = None
    power_since: Optional[str] = None
    host_state: Optional[str] = None
    observed_at: Optional[str] = None
    stale: bool = False
    pub_ip: Optional[str] = None
    pub_mac: Optional[str] = None
    pub_netmask: Optional[str] = None
    gateway: Optional[str] = None
    dns1: Optional[str] = None
    dns2: Optional[str] = None
    ntp: Optional[str] = None


class ClusterRecord(NamedTuple):
    """A virtual cluster: its frontend and its computes, in the server's order."""

    name: str
    description: str
    project: Optional[str]
    vlan: Optional[int]
    allocations: tuple[str, ...]
    frontend: Optional[Node]
    computes: tuple[Node, ...]
    observed_at: Optional[str]
    stale: bool = False

    def nodes(self) -> tuple[Node, ...]:
        """The frontend, if there is one, then the computes."""
        return ((self.frontend,) if self.frontend else ()) + self.computes


_BY_SCHEDULER = "by the site's scheduler; report it to the site's operators"
_REASONS = {
    "walltime": "its walltime is over",
    "user": "ended by its owners or an operator",
    "start_failed": "no node started",
    "node": "a host failed",
    "removed": "its nodes were removed by the site",
    "operator": "ended by the site",
    "preempted": "its hosts were given to another job",
    "limit": "a limit of the allocation was reached",
    **dict.fromkeys(("placement", "requeued", "lost", "timeout"), _BY_SCHEDULER),
}
"""Why a computeset ended, by the server's word."""


class Computeset(NamedTuple):
    """Computes that were started together. Walltime in minutes, `start_time` in seconds since 1970.

    `merged`: the numbers of the sets that were merged into this one.
    """

    id: int
    state: str
    cluster: str
    account: Optional[str]
    walltime_mins: Optional[int]
    start_time: Optional[int]
    reservation: Optional[str]
    computes: tuple[Node, ...]
    created: Optional[str] = None
    ended_at: Optional[str] = None
    end_reason: Optional[str] = None
    ended_by: Optional[str] = None
    degraded: bool = False
    requested_by: Optional[str] = None
    waiting: Optional[str] = None
    place: Optional[int] = None
    estimated_start: Optional[str] = None
    walltime_end: Optional[str] = None
    charged_seconds: Optional[int] = None
    charged_so_far_seconds: Optional[int] = None
    merged: tuple[int, ...] = ()

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL_STATES

    @property
    def why(self) -> str:
        """The reason of its end in words, in parentheses behind a blank; empty without one."""
        if self.end_reason == "user" and self.ended_by:
            return f" (ended by {self.ended_by})"
        return f" ({_REASONS.get(self.end_reason, self.end_reason)})" if self.end_reason else ""


class Operation(NamedTuple):
    """A change that the server accepted: queued, running, succeeded, failed or cancelled."""

    id: str
    state: str
    kind: str
    target: str
    error: Optional[str]
    created: Optional[str]
    ended: Optional[str]
    document: dict[str, Any]

    @property
    def done(self) -> bool:
        return self.state in DONE_OPERATIONS


class Started(NamedTuple):
    """What `start` accepted: the set's id, and the operation that starts it."""

    computeset: int
    operation: Optional[Operation]


class Outcome(NamedTuple):
    """What became of a request for one node, or for a set: an operation, or an error."""

    target: str
    operation: Optional[Operation] = None
    error: Optional[CometError] = None


class Console(NamedTuple):
    """A console's addresses on the endpoint; both hold a ticket that counts once, for a short time."""

    page_url: str
    websocket_path: str
    expires_at: str


def is_of(cluster: Optional[str], found: Computeset) -> bool:
    """Whether the set is one of the cluster, whose name may be in whatever case; None: of any."""
    return cluster is None or found.cluster.casefold() == cluster.casefold()


def bad_answer(what: str) -> UnreachableError:
    return UnreachableError(
        f"The server's answer is not one of Nucleus: {what}. Check the endpoint's address: comet active"
    )


def read_cluster(document: Any) -> ClusterRecord:
    it = read_object(document, "a cluster")
    name = _required(it, "name", str)
    frontend = it.get("frontend")
    return _record(
        ClusterRecord,
        it,
        description=_field(it, "description", str) or "",
        allocations=tuple(str(account) for account in _list(it, "allocations")),
        frontend=None if frontend is None else read_node(frontend, "frontend", name),
        computes=tuple(read_node(compute, "compute", name) for compute in _list(it, "computes")),
    )


def read_node(document: Any, kind: str, cluster: str) -> Node:
    it = read_object(document, f"a {kind}")
    return _record(
        Node,
        it,
        kind=kind,
        cluster=_field(it, "cluster", str) or cluster,
        power=_field(it, "power", str) or _power(_field(it, "state", str)),
        disk_state=_field(it, f"{kind}_state", str),
        interfaces=tuple(
            _record(Interface, read_object(entry, "an interface")) for entry in _list(it, "interface")
        ),
        computeset=_field(it, "active_computeset", int),
        computeset_state=_field(it, "active_computeset_state", str),
        host=_field(it, "host", str) or _field(it, "physical_host", str),
    )


def read_computeset(document: Any) -> Computeset:
    it = read_object(document, "a computeset")
    cluster = _required(it, "cluster", str)
    computes = tuple(read_node(compute, "compute", cluster) for compute in _list(it, "computes"))
    return _record(Computeset, it, computes=computes, merged=tuple(_list(it, "merged")))


def read_operation(document: Any) -> Operation:
    it = read_object(document, "an operation")
    error = it.get("error")
    if isinstance(error, dict):
        error = error.get("detail") or error.get("message") or error.get("title") or error
    return _record(
        Operation,
        it,
        kind=_field(it, "kind", str) or "",
        target=_target(it),
        error=None if error is None else str(error),
        document=it,
    )


def read_object(document: Any, what: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise bad_answer(f"{what} is not an object")
    return document


def read_list(document: Any, what: str) -> list[Any]:
    if not isinstance(document, list):
        raise bad_answer(f"it has no list of {what}")
    return document


def _target(document: dict[str, Any]) -> str:
    """`vc1`, `vc1/vm-vc1-0`, `computeset 7`, or an image that the library gets or loses."""
    if document.get("computeset") is not None:
        return f"computeset {document['computeset']}"
    names = ("cluster", "node") if document.get("cluster") else ("image",)
    return "/".join(str(document[key]) for key in names if document.get(key))


def _power(state: Optional[str]) -> str:
    known = {"active": "on", "paused": "paused", "crashed": "crashed"}
    return known.get(state or "", "off" if state in ("shutdown", "shutoff", "nostate") else "unknown")


def _list(document: dict[str, Any], name: str) -> Iterable[Any]:
    value = document.get(name)
    if not isinstance(value, (list, type(None))):
        raise bad_answer(f"{name} is not a list")
    return value or ()


def _field(document: dict[str, Any], name: str, kind: type[T]) -> Optional[T]:
    value = document.get(name)
    if value is None or (isinstance(value, kind) and not (kind is int and isinstance(value, bool))):
        if isinstance(value, int) and abs(value) >= _LARGEST:
            raise bad_answer(f"'{name}' is too large a number")
        return value
    raise bad_answer(
        f"'{name}' is not {'text' if kind is str else 'a number' if kind is int else 'true or false'}"
    )


def _required(document: dict[str, Any], name: str, kind: type[T]) -> T:
    value = _field(document, name, kind)
    if value is None:
        raise bad_answer(f"'{name}' is missing")
    return value


_REQUIRED = object()


def _record(record: Callable[..., R], document: dict[str, Any], /, **computed: Any) -> R:
    """A record of a document: the fields that are not computed are those of the same name, checked by their types."""
    for name, kind, default in _shape(record):
        if name in computed:
            continue
        value = _required(document, name, kind) if default is _REQUIRED else _field(document, name, kind)
        computed[name] = default if value is None else value
    return record(**computed)


@functools.lru_cache(maxsize=None)
def _shape(record: Any) -> list[tuple[str, Any, Any]]:
    """(name, type, default) of each field; an optional one without a default has None, a required one _REQUIRED."""
    found = []
    for name, written in record.__annotations__.items():
        text = written.__forward_arg__
        optional = text.startswith("Optional[")
        default = record._field_defaults.get(name, None if optional else _REQUIRED)
        found.append((name, _KINDS.get(text[9:-1] if optional else text), default))
    return found
