"""What Nucleus answers, as frozen records (specification §3.1). A document of another shape is an error, not a guess.

Each `read_…` takes a decoded JSON document. Fields that this version does not know are left aside: the server may add
some. A field that is missing or null is None or empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Optional, TypeVar

from comet.client.errors import UnreachableError

T = TypeVar("T", str, int, bool)

ACTIVE_STATES = ("created", "submitted", "running", "ending")
TERMINAL_STATES = ("completed", "cancelled", "failed")
SET_STATES = ACTIVE_STATES + TERMINAL_STATES
DONE_OPERATIONS = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Interface:
    """A network interface of a node."""

    mac: str
    iface: str
    ip: Optional[str] = None


@dataclass(frozen=True)
class Node:
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
    observed_at: Optional[str] = None
    stale: bool = False
    pub_ip: Optional[str] = None
    pub_mac: Optional[str] = None
    pub_netmask: Optional[str] = None
    gateway: Optional[str] = None
    dns1: Optional[str] = None
    dns2: Optional[str] = None
    ntp: Optional[str] = None


@dataclass(frozen=True)
class ClusterRecord:
    """A virtual cluster: its frontend and its computes, in the server's order."""

    name: str
    description: str
    project: Optional[str]
    vlan: Optional[int]
    allocations: tuple[str, ...]
    frontend: Optional[Node]
    computes: tuple[Node, ...]
    observed_at: Optional[str]
    stale: bool

    def nodes(self) -> tuple[Node, ...]:
        """The frontend, if there is one, then the computes."""
        return ((self.frontend,) if self.frontend else ()) + self.computes


@dataclass(frozen=True)
class Computeset:
    """Computes that were started together. Walltime in minutes, `start_time` in seconds since 1970."""

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
    degraded: bool = False
    requested_by: Optional[str] = None


@dataclass(frozen=True)
class Operation:
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


@dataclass(frozen=True)
class Started:
    """What `start` accepted: the set's id, and the operation that starts it."""

    computeset: int
    operation: Optional[Operation]


def bad_answer(what: str) -> UnreachableError:
    return UnreachableError(
        f"The server's answer is not one of Nucleus: {what}. Check the endpoint's address: comet active"
    )


def read_cluster(document: Any) -> ClusterRecord:
    it = _object(document, "a cluster")
    name = _required(it, "name", str)
    frontend = it.get("frontend")
    return ClusterRecord(
        name,
        _field(it, "description", str) or "",
        _field(it, "project", str),
        _field(it, "vlan", int),
        tuple(str(account) for account in _list(it.get("allocations"), "allocations")),
        None if frontend is None else read_node(frontend, "frontend", name),
        tuple(read_node(compute, "compute", name) for compute in _list(it.get("computes"), "computes")),
        _field(it, "observed_at", str),
        _field(it, "stale", bool) or False,
    )


def read_node(document: Any, kind: str, cluster: str) -> Node:
    it = _object(document, f"a {kind}")
    state = _field(it, "state", str)
    return Node(
        name=_required(it, "name", str),
        kind=kind,
        cluster=_field(it, "cluster", str) or cluster,
        type=_field(it, "type", str),
        state=state,
        power=_field(it, "power", str) or _power(state),
        memory=_field(it, "memory", int),
        cpus=_field(it, "cpus", int),
        disksize=_field(it, "disksize", int),
        disk_state=_field(it, f"{kind}_state", str),
        image_state=_field(it, "image_state", str),
        interfaces=tuple(_interface(entry) for entry in _list(it.get("interface"), "interface")),
        computeset=_field(it, "active_computeset", int),
        computeset_state=_field(it, "active_computeset_state", str),
        host=_field(it, "host", str) or _field(it, "physical_host", str),
        admin_disabled=_field(it, "admin_disabled", bool) or False,
        observed_at=_field(it, "observed_at", str),
        stale=_field(it, "stale", bool) or False,
        **{
            name: _field(it, name, str)
            for name in (
                "iso",
                "iso_active",
                "pub_ip",
                "pub_mac",
                "pub_netmask",
                "gateway",
                "dns1",
                "dns2",
                "ntp",
            )
        },
    )


def read_computeset(document: Any) -> Computeset:
    it = _object(document, "a computeset")
    cluster = _required(it, "cluster", str)
    return Computeset(
        _required(it, "id", int),
        _required(it, "state", str),
        cluster,
        _field(it, "account", str),
        _field(it, "walltime_mins", int),
        _field(it, "start_time", int),
        _field(it, "reservation", str),
        tuple(read_node(compute, "compute", cluster) for compute in _list(it.get("computes"), "computes")),
        _field(it, "created", str),
        _field(it, "ended_at", str),
        _field(it, "end_reason", str),
        _field(it, "degraded", bool) or False,
        _field(it, "requested_by", str),
    )


def read_operation(document: Any) -> Operation:
    it = _object(document, "an operation")
    error = it.get("error")
    if isinstance(error, dict):
        error = error.get("detail") or error.get("message") or error.get("title") or str(error)
    return Operation(
        _required(it, "id", str),
        _required(it, "state", str),
        _field(it, "kind", str) or "",
        _target(it),
        None if error is None else str(error),
        _field(it, "created", str),
        _field(it, "ended", str),
        it,
    )


def read_list(document: Any, what: str) -> list[Any]:
    if not isinstance(document, list):
        raise bad_answer(f"it has no list of {what}")
    return document


def _target(document: dict[str, Any]) -> str:
    """`vc1`, `vc1/vm-vc1-0`, or `computeset 7`."""
    if document.get("computeset") is not None:
        return f"computeset {document['computeset']}"
    return "/".join(str(document[key]) for key in ("cluster", "node") if document.get(key))


def _power(state: Optional[str]) -> str:
    known = {"active": "on", "paused": "paused", "crashed": "crashed"}
    return known.get(state or "", "off" if state in ("shutdown", "shutoff", "nostate") else "unknown")


def _interface(document: Any) -> Interface:
    it = _object(document, "an interface")
    return Interface(_field(it, "mac", str) or "", _field(it, "iface", str) or "", _field(it, "ip", str))


def _object(document: Any, what: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise bad_answer(f"{what} is not an object")
    return document


def _list(value: Any, what: str) -> Iterable[Any]:
    if not isinstance(value, (list, type(None))):
        raise bad_answer(f"{what} is not a list")
    return value or ()


def _field(document: dict[str, Any], name: str, kind: type[T]) -> Optional[T]:
    value = document.get(name)
    if value is None or (isinstance(value, kind) and not (kind is int and isinstance(value, bool))):
        return value
    raise bad_answer(
        f"'{name}' is not {'text' if kind is str else 'a number' if kind is int else 'true or false'}"
    )


def _required(document: dict[str, Any], name: str, kind: type[T]) -> T:
    value = _field(document, name, kind)
    if value is None:
        raise bad_answer(f"'{name}' is missing")
    return value
