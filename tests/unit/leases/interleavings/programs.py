"""The processes of the model: the real start, stop and agent, above stubs that are steps of the model.

Real: `machine.start`, `machine.stop`, `machine.converge`,
`leases.machine_requests`, `leases.plan`, `machine.spec`, `machine.plans`,
`agent.calls`, `machine.host.facts`, `operations`, `start`, the rules of `leases.host.leases`,
`machine.host.libvirt.power`. Stubs: the tables of leases, their epoch, the fleet, a host's lock and file of
a lease, libvirt, and what has no part in leases (disks, links, VFs, partitions).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from rocks.agent import calls
from rocks.core.errors import RocksError
from rocks.fleet.host.change import UNCHANGED
from rocks.inventory.records import Host, Lease, VirtualMachine
from rocks.leases import lease as leases
from rocks.leases import machine_requests
from rocks.leases.host.leases import Leases
from rocks.machine import converge as vm_converge
from rocks.machine import start as vm_start
from rocks.machine import stop
from rocks.machine.host import facts
from rocks.machine.host import operations as host_stop
from rocks.machine.host import start as host_start
from rocks.machine.host.facts import MachineFact
from rocks.machine.host.libvirt.domain_xml import DomainDocument, parse_domain
from rocks.machine.outcomes import Outcomes
from rocks.machine.stop import Force
from tests.unit.leases.interleavings.replay import step

NAME = "vm"
XML = f"""<domain type='qemu'><name>{NAME}</name><uuid>7f1c0000-0000-4000-8000-000000000001</uuid>
<memory>65536</memory></domain>"""

_DOCUMENT = parse_domain(XML)


def run(program: tuple[str, Any]) -> Any:
    """The result of a command, or an agent's reply to `("agent", request)`."""
    return _run_agent(program[1]) if program[0] == "agent" else _run_command(*program)


def _run_command(kind: str, place: str) -> Any:
    """`("start", host)`: start the machine, which is placed on the host; `("stop", …)`; `("force", …)`."""
    database: Any = Rows()
    outcomes: Outcomes
    if kind == "start":
        outcomes = vm_start.start_vms(database, [NAME], vm_start.StartHooks(lambda *_: {}, lambda line: None))
    else:
        force = Force("it is off") if kind == "force" else None
        outcomes = stop.stop_machines(database, [_machine(place)], "poweroff", 60, force)
    return bool(outcomes.done)


def _run_agent(request: Any) -> Any:
    reply = calls.answer(ModelHost(), request)  # type: ignore[arg-type]
    for outcome in getattr(reply, "outcomes", ()):
        assert outcome.error is None or outcome.error.family != "bug", outcome.error
    return reply


class Rows:
    """The lease of the machine and its fences, as a command's transaction has them (`database.leases`)."""

    def __init__(self) -> None:
        self._is_read = False
        self._is_changed = False
        self.row: tuple[int, str | None, str] | None = None
        self.fences: dict[str, int] = {}

    def read(self) -> Rows:
        """This, as of the beginning of the transaction."""
        if not self._is_read:
            self.row, fences = step("read")
            self.fences = dict(fences)
            self._is_read = True
        return self

    def change(self) -> Rows:
        """This, to be stored by the next commit."""
        self._is_changed = True
        return self.read()

    def commit(self) -> None:
        """Store the changes; a transaction without changes is no step."""
        if self._is_changed:
            step("commit", self.row, tuple(sorted(self.fences.items())))
        self.rollback()

    def rollback(self) -> None:
        """Forget the changes."""
        self._is_read = self._is_changed = False


def _read_leases(rows: Rows, names: Sequence[str], lock: bool = False) -> dict[str, Lease]:
    found = rows.read().row
    return {} if found is None else {NAME: Lease(NAME, *found)}


def _take_leases(rows: Rows, requests: Mapping[str, tuple[str, Any]]) -> dict[str, int]:
    for host, _ in requests.values():
        token = 1 if rows.read().row is None else rows.row[0] + 1  # type: ignore[index]
        rows.change().row = (token, host, "starting")
        return {NAME: token}
    return {}


def _set_state(rows: Rows, names: Sequence[str], state: str, reason: str | None = None) -> None:
    if names and rows.read().row is not None and rows.row[2] != "released":  # type: ignore[index]
        rows.change().row = (*rows.row[:2], state)  # type: ignore[index]


def _release_leases(rows: Rows, names: Sequence[str], reason: str | None = None) -> None:
    if names and rows.read().row is not None:
        rows.change().row = (rows.row[0], None, "released")  # type: ignore[index]


def _put_up_fences(rows: Rows, fences: Sequence[tuple[str, str, int]]) -> None:
    for host, _, token in fences:
        rows.change().fences[host] = max(token, rows.fences.get(host, 0))


def _fences_of_hosts(rows: Rows, hosts: Sequence[str]) -> dict[str, list[tuple[str, int]]]:
    return {host: [(NAME, token)] for host, token in rows.read().fences.items() if host in hosts}


def _take_down_fences(rows: Rows, host: str, fences: Collection[tuple[str, int]]) -> None:
    if fences and (NAME, rows.read().fences.get(host)) in fences:
        rows.change().fences.pop(host, None)


TABLES = {
    "read_leases": _read_leases,
    "disk_holders": lambda rows, keys: {},
    "take_leases": _take_leases,
    "cover_disks": lambda rows, disks: None,
    "set_state": _set_state,
    "release_leases": _release_leases,
    "release_keeping_reasons": _release_leases,
    "forget_reasons": lambda rows, names: None,
    "put_up_fences": _put_up_fences,
    "fences_of_hosts": _fences_of_hosts,
    "take_down_fences": _take_down_fences,
}
"""The functions of `database.leases` that commands use; `tests/system/database/test_lease_rows.py` compares them."""


class ModelFleet:
    """Requests are messages of the model."""

    def warm_up(self, names: Iterable[str]) -> None:
        """As `Fleet.warm_up`: nothing is sent."""

    def ask_each(self, requests: Mapping[str, Any], limit: float | None = None) -> Iterator[tuple[str, Any]]:
        """As `Fleet.ask_each`."""
        if requests:
            step("send", tuple(requests.items()))
        for host in requests:
            try:
                yield host, step("receive", host)
            except RocksError as error:
                yield host, error


class ModelLeases(Leases):
    """The rules of a host's leases over steps of the model."""

    def __init__(self) -> None:
        """Without a folder."""

    @contextmanager
    def held(self, name: str, deadline_seconds: float) -> Iterator[None]:
        """As `Leases.held`; the kernel releases the lock of a killed agent."""
        step("lock")
        try:
            yield
        finally:
            step("unlock")

    def remembered(self, name: str) -> int | None:
        """As `Leases.remembered`."""
        return step("remembered")

    def _store(self, name: str, token: int) -> None:
        step("store", token)


class ModelDomains:
    """Calls of libvirt; a start is a job of libvirtd, which goes on when the agent is killed."""

    def __getattr__(self, method: str) -> Any:
        return lambda *arguments: step("libvirt", method, *arguments)

    def start_paused(self, name: str) -> None:
        """As `DomainDriver.start_paused`."""
        step("create")
        step("created")

    def document(self, name: str) -> DomainDocument:
        """A document without disks and interfaces."""
        return _DOCUMENT


class ModelHost:
    """What an agent sees of its machine."""

    def __init__(self) -> None:
        self.leases = ModelLeases()
        self.lease_epoch = SimpleNamespace(
            raise_to=lambda epoch: None, current=lambda: 0, admitted=lambda *_: nullcontext()
        )
        self.state_folder = Path("/nonexistent")
        self.stored_links = SimpleNamespace(remember=lambda *_: None)

    def domains(self) -> ModelDomains:
        """libvirt."""
        return ModelDomains()


def _host(name: str) -> Host:
    return Host(name, "VM Container", "vm-container", 8, 1, 0, attributes={"kvm": "true", "vm_filter": "off"})


def _machine(place: str) -> VirtualMachine:
    attributes = {"vm_filter": "off"}
    return VirtualMachine(
        Host(NAME, "Compute", "compute", 1, 1, 1, attributes=attributes), _host(place), 64, 0
    )


def _load_vms(rows: Rows, names: Sequence[str]) -> list[VirtualMachine]:
    return [_machine(step("place"))]


def _run_fence(arguments: Sequence[str], **_: Any) -> None:
    step("power_off", arguments[1])


@contextmanager
def stubs() -> Iterator[None]:
    """Real code runs above the steps of the model."""
    fleet = nullcontext(ModelFleet())
    replaced: list[tuple[Any, str, Any]] = [
        *((leases, name, function) for name, function in TABLES.items()),
        (vm_start, "ensure_epoch", lambda *_: None),
        (stop, "try_epoch", lambda *_: None),
        (machine_requests, "present_epoch", lambda *_: 0),
        *((module, "open_fleet", lambda *_: fleet) for module in (vm_start, vm_converge)),
        *((module, "lock_vms", lambda *_, **__: {}) for module in (vm_start, stop)),
        *((module, "leave_partitions", lambda *_: ()) for module in (vm_start, stop)),
        *((module, "connections_of", lambda *_: ()) for module in (vm_start, stop)),
        (vm_start, "table", SimpleNamespace(load_vms=_load_vms, hosts_of_vlans=lambda *_: {})),
        (vm_start, "moments_of_disks", lambda *_: {}),
        (vm_start, "PROVIDERS", ()),
        (vm_start, "describe_vms", lambda *_: {NAME: (XML,)}),
        (stop, "resolve_secret", lambda rows, name, hosts: {host: f"off {host}" for host in hosts}),
        (stop, "process", SimpleNamespace(run_checked=_run_fence)),
        (facts, "read_machine", lambda: MachineFact(4096, 8)),
        (facts, "has_8021q", lambda *_: True),
        (facts, "has_filters", lambda *_: True),
        (facts, "release_links", lambda *_: UNCHANGED),
        (facts, "release_older_vfs", lambda *_: True),
        *((module, "release_links", lambda *_: UNCHANGED) for module in (host_stop, host_start)),
        (
            host_start,
            "memory_promised",
            lambda host, name, memory_mb, decide, starts: nullcontext(decide({})),
        ),
        (host_stop, "release_partition", lambda *_: ()),
        *((module, "release_vfs", lambda *_: ()) for module in (host_stop, host_start)),
        (host_start, "ensure_partition", lambda *_: ()),
        (host_start, "ensure_secured", lambda *_: UNCHANGED),
        (host_start, "vfs_locked", lambda *_: nullcontext()),
        (host_start, "assign", lambda host, operation, document: document),
    ]
    with ExitStack() as stack:
        for module, name, stub in replaced:
            stack.enter_context(patch.object(module, name, stub))
        yield
