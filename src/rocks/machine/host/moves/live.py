"""A running machine on its way from one host to another: both ends, as programs of the agent.

The old host's agent is the client of both libvirts; the sockets of the new host are carried to it by frames. Each end
holds the machine's lock, so what another request finds afterwards is final.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Type, TypeVar

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import HostError, IncoherentError, RocksError, StateError
from rocks.core.files import explain
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.fleet.wire.codec import decode, encode
from rocks.fleet.wire.domain_states import ACTIVE_STATES, GUEST_RUNS
from rocks.fleet.wire.envelope import MAXIMUM_LINE_BYTES
from rocks.fleet.wire.live_moves import (
    DISKS,
    DOCUMENT,
    LIBVIRT,
    MEMORY,
    PROGRESS,
    READY,
    REFUSED_STATUS,
    RESULT,
    SOCKETS,
    Arrival,
    Arrive,
    Departure,
    DiskSize,
    Leave,
    Progress,
    Result,
)
from rocks.fleet.wire.requests import EndArrival
from rocks.machine.host.frozen import check_is_thawed
from rocks.machine.host.guest_network import links_locked, release_links
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.device_xml import changed_lease
from rocks.machine.host.libvirt.domain_xml import DomainDocument, parse_domain
from rocks.machine.host.libvirt.driver import LiveWay
from rocks.machine.host.libvirt.moving_xml import check_can_move, needs_same_host_cpu, targets_of
from rocks.machine.host.moves.arriving_machine import check_may_arrive, prepare_arrival
from rocks.machine.host.moves.arriving_volumes import remove_placeholders
from rocks.machine.host.moves.direct_way import connect_directly, listen
from rocks.machine.host.moves.live_streams import Streams, connect_soon, folders
from rocks.machine.limits import LOCK_SECONDS
from rocks.machine.plans import Observed, plan_end_arrival

Shape = TypeVar("Shape")

_RUN_FOLDER = Path("/run/libvirt")
_QEMU_FOLDER = Path("/var/lib/libvirt/qemu")
_LIBVIRT_SOCKETS = ("virtqemud-sock", "libvirt-sock")
_PREPARE_SECONDS = 120.0
_PROGRESS_SECONDS = 0.5
_ARRIVES_SECONDS = 0.1
_SETTLED_SECONDS = 30.0


def leave(host: Host) -> int:
    """The old host: move the machine; the exit status. The request is the first line of standard input.

    The machine has its new lease first, so that no end of an earlier attempt is one of this. RESULT reports how libvirt
    ended it.
    """
    request = _request(Leave)
    with host.leases.held(request.name, LOCK_SECONDS):
        document = _renewed(host, request)
        with _sockets(request.move) as folder, contextlib.ExitStack() as servers:
            streams = Streams()
            listening = {
                name: servers.enter_context(_listening(folder / name)) for name in (LIBVIRT, MEMORY, DISKS)
            }
            streams.start()
            _send(streams, DOCUMENT, _departure(host, request, document))
            there = _received(streams, READY, Arrival)
            detour = connect_directly(request.direct, there, streams, servers)
            for name, server in listening.items():
                streams.serve(server, name)
            way = LiveWay(
                there.xml,
                str(folder / LIBVIRT),
                str(folder / MEMORY),
                str(folder / DISKS),
                tuple(target for target, _ in targets_of(document, request.paths)),
                # QEMU's emulation may lose a write to a page that is being sent (decision 171)
                pauses_first=not document.requires_kvm,
                stays_paused=bool(request.images),  # until they have followed it
            )
            _send(streams, RESULT, _moved(host, request, way, streams, detour))
            # the frontend ends this process; one that ended first would be a loss to the new host
            streams.take(None)
    return 0


def _moved(host: Host, request: Leave, way: LiveWay, streams: Streams, detour: str) -> Result:
    ended = threading.Event()
    _send(streams, PROGRESS, Progress(0, 0, detour))
    reporter = threading.Thread(
        target=_report, args=(host, request.name, streams, detour, ended), daemon=True
    )
    reporter.start()
    try:
        host.domains().move_live(request.name, way)
    except RocksError as error:
        return Result(str(error))
    finally:
        ended.set()
        reporter.join()
    host.leases.end(request.name, request.token)
    return Result()


def _report(host: Host, name: str, streams: Streams, detour: str, ended: threading.Event) -> None:
    while not ended.wait(_PROGRESS_SECONDS):
        with contextlib.suppress(RocksError):
            sent, remaining = host.domains().moved_bytes(name)
            _send(streams, PROGRESS, Progress(sent, remaining, detour))


def _renewed(host: Host, request: Leave) -> DomainDocument:
    """The running machine under its new lease; StateError for one that does not run, or cannot move."""
    domains, name = host.domains(), request.name
    found = domains.find(name)
    if found is None or found.state not in GUEST_RUNS:
        state = "absent" if found is None else found.state
        raise StateError(f"{name} does not run on this host: it is {state}")
    if found.token is None or found.token > request.token:
        raise StateError(f"{name} runs under lease {found.token}, not {request.token}; try again")
    check_is_thawed(host, name, found.token)
    check_can_move(domains.document(name), request.paths, request.images)
    # a host that boots after the switch would start it again, from the old disk; EndDeparture sets it as it was
    domains.set_autostart(name, False)
    if found.token < request.token:
        domains.set_lease(name, changed_lease(domains.document(name), token=request.token))
    host.leases.admit(name, request.token)
    return domains.moving_document(name)


def _departure(host: Host, request: Leave, document: DomainDocument) -> Departure:
    domains = host.domains()
    disks, images = (
        tuple(
            DiskSize(target, path, domains.disk_bytes(request.name, path))
            for target, path in targets_of(document, paths)
        )
        for paths in (request.paths, request.images)
    )
    cpu = domains.host_cpu() if needs_same_host_cpu(document) else ""
    return Departure(document.text, disks, cpu, images)


def arrive(host: Host) -> int:
    """The new host: make what the machine needs, and pass the connections on until the old host ends them."""
    request = _request(Arrive)
    name = request.start.name
    with host.leases.held(name, LOCK_SECONDS), _sockets(request.move) as folder:
        streams = Streams(lambda socket_name: _connect(folder, socket_name))
        streams.start()
        departure = _received(streams, DOCUMENT, Departure)
        with contextlib.ExitStack() as until_it_is_there:
            until_it_is_there.enter_context(host.lease_epoch.admitted(name, request.start.token))
            document = parse_domain(departure.xml)
            check_may_arrive(host, request, document, departure)
            host.leases.admit(name, request.start.token)
            until_it_is_there.enter_context(links_locked(host, request.start.links, shared=True))
            xml = prepare_arrival(host, request, document, departure, until_it_is_there)
            port, problem = listen(request.direct, streams, until_it_is_there)
            _send(streams, READY, Arrival(xml, port, problem))
            _wait_until_there(host, name)
        streams.take(None)  # the old host ends the streams, and this process with them
    return 0


def _wait_until_there(host: Host, name: str) -> None:
    """Until QEMU of the arriving machine exists; libvirt counts its memory and its devices then. HostError without it.

    The locks end here that keep the machine's devices and memory for it, so nothing may arrive later.
    """
    deadline = Deadline(_PREPARE_SECONDS)
    while True:
        found = host.domains().find(name)
        if found is not None and found.state in ACTIVE_STATES:
            return
        if deadline.passed():
            raise HostError(f"libvirt began to receive nothing of {name} within {_PREPARE_SECONDS:g} s")
        wait_seconds(_ARRIVES_SECONDS)


def end_arrival(host: Host, operation: EndArrival) -> Change:
    """End a migration to this host that was interrupted: destroy the domain, unless it has arrived.

    The caller holds the machine's lock, so the process that carried the connections has ended. libvirt destroys an
    incomplete domain then; one that it is about to resume is waited for. libvirt defines the domain here only when all
    of it is here: one that is defined has arrived, and may have ended or paused since; its disk is the only one then.
    One whose images follow is not resumed by libvirt.
    """
    domains, name = host.domains(), operation.name
    deadline = Deadline(_SETTLED_SECONDS)
    while True:
        found = domains.find(name)
        if found is None or found.token != operation.token or deadline.passed():
            break
        waits_for_images = found.persistent and bool(operation.images)
        if waits_for_images or found.state in GUEST_RUNS or found.state not in ACTIVE_STATES:
            break
        wait_seconds(_ARRIVES_SECONDS)
    if not plan_end_arrival(operation, Observed(found)).steps:
        domains.set_autostart(name, operation.autostart)
        return UNCHANGED
    if found is not None and found.token == operation.token:
        domains.destroy(name)
        domains.erase(name)
    host.leases.end(name, operation.token)
    if domains.find(name) is not None:
        return CHANGED  # another one of this name, with its devices
    remove_placeholders(host, operation.images)
    return Change(True, release_links(host, name).notes)


@contextmanager
def _sockets(move: str) -> Iterator[Path]:
    """A folder with the sockets of this migration, the same on both hosts; QEMU makes and reaches those in it."""
    if not move.isalnum():
        raise IncoherentError(f"{move[:40]!r} is no name of a migration")
    folder = _RUN_FOLDER / f"{SOCKETS}{move}"
    try:
        owner = _QEMU_FOLDER.stat()  # libvirt gives it to the user of its QEMU
        # of an attempt that was killed: the caller has the machine's lock
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(0o700)
        os.chown(folder, owner.st_uid, owner.st_gid)
    except OSError as error:
        raise HostError(f"cannot make the folder {folder}: {explain(error, folder)}") from None
    folders.append(folder)
    try:
        yield folder
    finally:
        folders.remove(folder)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """A socket in QEMU's folder, made beside it: in it, QEMU's user could have root change the target of a link."""
    owner = path.parent.stat()
    new = path.parent.with_name(f"{path.parent.name}-{path.name}")
    with socket.socket(socket.AF_UNIX) as server:
        with contextlib.suppress(FileNotFoundError):
            new.unlink()  # of an attempt that was killed
        server.bind(str(new))
        new.chmod(0o600)
        os.chown(new, owner.st_uid, owner.st_gid)
        server.listen()
        new.rename(path)
        yield server


def _connect(folder: Path, name: str) -> socket.socket:
    if name in (MEMORY, DISKS):
        return connect_soon(str(folder / name))
    if name != LIBVIRT:
        raise OSError(f"{name[:40]!r} is no socket of a migration")
    paths = [path for path in (_RUN_FOLDER / one for one in _LIBVIRT_SOCKETS) if path.exists()]
    if not paths:
        raise OSError(f"there is no socket of libvirt in {_RUN_FOLDER}")
    return connect_soon(str(paths[0]))


def _request(shape: Type[Shape]) -> Shape:
    line = bytearray()
    while not line.endswith(b"\n"):  # not one byte more: frames follow
        byte = os.read(0, 1)
        if not byte or len(line) >= MAXIMUM_LINE_BYTES:
            raise IncoherentError("the request has no end")
        line += byte
    return decode(shape, json.loads(line), "request")


def _send(streams: Streams, kind: int, value: Any) -> None:
    streams.send(kind, json.dumps(encode(value)).encode())


def _received(streams: Streams, kind: int, shape: Type[Shape]) -> Shape:
    received = streams.take(_PREPARE_SECONDS)
    if received.kind != kind:
        raise IncoherentError(f"the other host has sent a frame of kind {received.kind}, not {kind}")
    return decode(shape, json.loads(received.data), "frame")


def run(end: str, host: Host) -> int:
    """`leave` or `arrive`, as a program: an error goes to standard error; the status says whether it is a refusal."""
    try:
        return leave(host) if end == "leave" else arrive(host)
    except RocksError as error:
        print(error, file=sys.stderr)
        sys.stderr.flush()
        return REFUSED_STATUS if isinstance(error, StateError) else error.exit_status
