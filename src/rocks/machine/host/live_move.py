"""A running machine on its way from one host to another: both ends, as programs of the agent."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import shutil
import socket
import ssl
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple, Type, TypeVar

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import HostError, IncoherentError, RocksError, StateError
from rocks.core.files import explain
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.fleet.wire.calls import MAXIMUM_LINE_BYTES
from rocks.fleet.wire.codec import decode, encode
from rocks.fleet.wire.facts import ACTIVE_STATES, GUEST_RUNS
from rocks.fleet.wire.live_moves import (
    DATA,
    DIRECT_PORTS,
    DISKS,
    DOCUMENT,
    END,
    LIBVIRT,
    MEMORY,
    OPEN,
    PROGRESS,
    READY,
    REFUSED_STATUS,
    RESULT,
    SOCKETS,
    TICK,
    Arrival,
    Arrive,
    Departure,
    DirectWay,
    DiskSize,
    Frame,
    Frames,
    Leave,
    Progress,
    Result,
    frame,
    moving_path,
)
from rocks.fleet.wire.requests import EndArrival
from rocks.machine.host.consoles import name_log
from rocks.machine.host.disks import (
    create_placeholders,
    ensure_disk,
    give_file,
    remove_placeholders,
    write_seed,
)
from rocks.machine.host.facts import memory_reserved
from rocks.machine.host.files import check_path, open_file, opened_image_folder
from rocks.machine.host.guest_network import links_locked, release_links
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.accelerator import host_emulator, probe_accelerator
from rocks.machine.host.libvirt.device_xml import (
    arriving,
    cannot,
    changed_lease,
    check_as_recorded,
    check_can_move,
    cpu_of,
    needs_same_host_cpu,
    targets_of,
)
from rocks.machine.host.libvirt.domain_xml import DiskIdentity, DomainDocument, parse_domain, with_emulator
from rocks.machine.host.libvirt.driver import LiveWay
from rocks.machine.host.libvirt.freezing import check_is_thawed
from rocks.machine.limits import LIVE_SILENT_SECONDS, LIVE_TICK_SECONDS, LOCK_SECONDS
from rocks.machine.plans import Observed, plan_end_arrival
from rocks.network.host.rules import is_of_site
from rocks.storage.stream.transport import Connection, StreamServer, connect

# What a running machine that arrives finds on its new host: checked, then made.


def check_may_arrive(host: Host, request: Arrive, document: DomainDocument, departure: Departure) -> None:
    """StateError where the machine cannot run here; IncoherentError when it is another one than was asked for."""
    start, domains = request.start, host.domains()
    if (document.name, document.uuid, document.token) != (start.name, request.uuid, start.token):
        raise IncoherentError(
            f"the old host sends {document.name} ({document.uuid}) under lease {document.token}, not {start.name} "
            f"({request.uuid}) under lease {start.token}"
        )
    if domains.find(start.name) is not None:
        raise StateError(f"there is a domain {start.name} on this host already")
    check_can_move(
        document, [disk.path for disk in departure.disks], [image.path for image in departure.images]
    )
    check_as_recorded(document, parse_domain(start.xml))
    if document.requires_kvm:
        probe = probe_accelerator(host.state_folder)
        if probe.accelerator != "kvm":
            raise cannot(start.name, f"it runs under KVM, which does not work here ({probe.reason})")
    if needs_same_host_cpu(document) and departure.host_cpu != domains.host_cpu():
        raise cannot(
            start.name,
            "it has the CPU of its host as it is, and this host has another one; with the attribute cpu_mode of a "
            "named model, both hosts show the same CPU",
        )
    cpu = cpu_of(document)
    emulator = _emulator(parse_domain(start.xml))
    if cpu is not None and not domains.cpu_fits(with_emulator(document, emulator), cpu):
        raise cannot(start.name, "this host cannot give it the CPU model that it has")


def _emulator(start: DomainDocument) -> str:
    """The QEMU of a start on this host; that of the old host is not asked for."""
    emulator = start.emulator
    return emulator if emulator and Path(emulator).exists() else host_emulator()


def prepare_arrival(
    host: Host, request: Arrive, document: DomainDocument, departure: Departure, stack: contextlib.ExitStack
) -> str:
    """Make disks and links; the XML of the machine here. `stack` keeps its memory for it."""
    start = request.start
    if start.memory_reserve_mb is not None:
        needed_mb, reserve_mb = document.memory_mb, start.memory_reserve_mb
        stack.enter_context(memory_reserved(host, start.name, needed_mb, reserve_mb, "is not moved"))
    host.stored_links.remember(start.name, tuple(link for link in start.links if not is_of_site(link)))
    for link in start.links:
        host.links().ensure(link)
    if document.console.log_path is not None:
        name_log(start.name, document.console.log_path)
    sizes = {disk.path: disk.size_bytes for disk in departure.disks}
    on_nas = {image.path for image in departure.images}
    create_placeholders(host, departure.images)
    identities: List[DiskIdentity] = []
    for spec in start.disks:
        if spec.is_mapped != (spec.path in on_nas):
            raise IncoherentError(f"{start.name} has the image {spec.path} on one of the hosts only")
        if spec.path in sizes:
            _create_empty(host, spec.path, sizes[spec.path], request)
        elif not (spec.is_cdrom or spec.is_mapped):
            raise IncoherentError(
                f"{start.name} would have the disk {spec.path} here, and does not have it there"
            )
        identities.append(ensure_disk(spec, host.image_owners)[1])
    if start.seed is not None:
        seed = start.seed
        identities.append(DiskIdentity(seed.path, *write_seed(seed, host.image_owners), seed.machine))
    there = parse_domain(start.xml)
    return arriving(document, there, identities, _emulator(there))


def _create_empty(host: Host, path: str, size_bytes: int, request: Arrive) -> None:
    """A new file of the machine for the copy; that of an earlier attempt is removed. StateError for another one."""
    spec = next(disk for disk in request.start.disks if disk.path == path)
    name = Path(check_path(path)).name
    ensure_disk(spec, host.image_owners)  # the folders, or the owner of what is there
    try:
        with opened_image_folder(spec.path, spec.directory) as folder:
            os.unlink(name, dir_fd=folder)
            _remove_part(host, folder, moving_path(path), request.uuid)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, 0o600, dir_fd=folder)
            try:
                give_file(descriptor, path, request.uuid, host.image_owners)
                os.ftruncate(descriptor, size_bytes)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise HostError(f"cannot make the image {path}: {explain(error, Path(path))}") from None


def _remove_part(host: Host, folder: int, path: str, machine: str) -> None:
    """Remove what a move of the stopped machine has left incomplete, which nothing records once this one has ended."""
    descriptor = open_file(folder, Path(path).name, path)
    if descriptor is None:
        return
    try:
        if host.image_owners.of_file(descriptor, path) == machine:
            os.unlink(Path(path).name, dir_fd=folder)
            host.image_owners.forget("file", path)
    finally:
        os.close(descriptor)


# The way of memory and disks from the old host to the new one, past the frontend (decision 171).
#
# TLS, with a certificate that was made for this move, whose key is on no disk. Others that connect are refused, and
# hold nothing up (`rocks.storage.stream.transport`).

LIVE_DIRECT_SECONDS = 5.0
"""How long the old host waits for the new one on the direct way, before memory and disks go through the frontend."""

_DATA, _ANSWERS = b"data", b"answers"
"""First lines of the old host's two connections, one for each direction: no two threads may use one (OpenSSL)."""

_RECORD_BYTES = 16 * 1024
_READY = b"\n"
"""The new host's first byte: it has seen the old one's certificate, which TLS 1.3 does not say."""


def listen(way: Optional[DirectWay], streams: Streams, stack: contextlib.ExitStack) -> Tuple[int, str]:
    """Have the old host connect until the stack ends; the port, or 0 and why there is none."""
    if way is None:
        return 0, ""
    try:
        server = _server(way, streams)
    except RocksError as error:
        return 0, str(error)
    stack.callback(server.close)
    return server.port, ""


def _server(way: DirectWay, streams: Streams) -> StreamServer:
    def serve(connection: Connection) -> None:
        connection.writer.write(_READY)
        connection.writer.flush()
        if connection.opening == _ANSWERS:
            streams.go_directly(_sender(connection))
            threading.Event().wait()  # it is open until this process ends
        streams.receive(_receiver(connection), "the old host does not reach this one directly any more")

    context, problem = _context(way, ssl.PROTOCOL_TLS_SERVER), HostError("")
    for port in DIRECT_PORTS:
        try:
            return StreamServer(lambda: context, way.address, port, serve, limit=2)
        except HostError as error:  # another one listens there
            problem = error
    raise problem


def connect_directly(
    way: Optional[DirectWay], there: Arrival, streams: Streams, stack: contextlib.ExitStack
) -> str:
    """Send memory and disks directly until the stack ends; why not, empty when that is so."""
    if way is None or there.port not in DIRECT_PORTS:
        return there.problem
    try:
        context = _context(way, ssl.PROTOCOL_TLS_CLIENT)
        answers = _connected(context, way, there.port, _ANSWERS, stack)
        ended = f"{way.host} does not reach this host directly any more"
        threading.Thread(target=streams.receive, args=(_receiver(answers), ended), daemon=True).start()
        streams.go_directly(_sender(_connected(context, way, there.port, _DATA, stack)))
    except (RocksError, OSError) as error:
        return str(error)
    return ""


def _connected(
    context: ssl.SSLContext, way: DirectWay, port: int, opening: bytes, stack: contextlib.ExitStack
) -> Connection:
    """A connection that the new host has confirmed. RocksError or OSError."""
    seconds = LIVE_DIRECT_SECONDS
    connection = stack.enter_context(connect(context, way.address, port, way.host, opening, seconds=seconds))
    stack.callback(connection.end)  # so no thread reads when its file is closed
    if connection.reader.read(1) != _READY:
        raise HostError(f"{way.host} has closed the connection")
    return connection


def _sender(connection: Connection) -> Callable[[bytes], None]:
    def send(data: bytes) -> None:
        connection.writer.write(data)
        connection.writer.flush()

    return send


def _receiver(connection: Connection) -> Callable[[int], bytes]:
    # Python makes room for all bytes that it is asked for, and gets those of one record
    return lambda _: connection.reader.read1(_RECORD_BYTES)  # type: ignore[attr-defined]


def _context(way: DirectWay, kind: int) -> ssl.SSLContext:
    """HostError when TLS cannot be used here."""
    context = ssl.SSLContext(kind)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        descriptor = os.memfd_create("identity")  # ssl reads a key from a file only; this one is on no disk
        with os.fdopen(descriptor, "wb") as file:
            file.write(way.identity.encode())
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        context.load_verify_locations(cadata=way.authority)
    except OSError as error:
        raise HostError(f"the certificate of the move cannot be used: {error}") from None
    return context


# The streams of one end of a live migration: frames, and the connections whose bytes are in them.
#
# Both standard streams lead to the frontend. Where the old host reaches the new one directly, memory and disks do not
# take that way.
#
# libvirt resumes a machine on its old host when the connection to the new one breaks, also when it runs there by then.
# So an end that loses the other one never closes a connection: it ends as a whole process. libvirt then leaves the
# machine as it is, and the frontend decides.

_PIECE_BYTES = 256 * 1024
_CONNECT_SECONDS = 10.0
LOST = 3
"""Exit status of an end that has lost the other one."""


class Streams:
    """Both standard streams, and the direct way. Frames of no connection are kept until they are asked for."""

    def __init__(self, connect: Optional[Callable[[str], socket.socket]] = None) -> None:
        """`connect` opens the socket of a name for the other end; None: the other end opens none."""
        self._output = os.dup(1)
        os.dup2(2, 1)  # what libraries print is no frame
        self._connect = connect
        self._sockets: Dict[int, socket.socket] = {}
        self._of_libvirt: Set[int] = set()
        """Connections to libvirt of the new host that nobody has closed yet."""
        self._received: "queue.Queue[Frame]" = queue.Queue()
        self._output_lock = threading.Lock()
        self._send_directly: Optional[Callable[[bytes], None]] = None
        self._directly: Set[int] = set()
        """Connections whose bytes this end sends directly."""
        self._direct_lock = threading.Lock()
        self._next_channel = 1

    def start(self) -> None:
        """Receive from now on."""
        reads = (_read_input, "the other host, or this site's frontend, is not there any more")
        threading.Thread(target=self.receive, args=reads, daemon=True).start()
        threading.Thread(target=_tick, args=(self.send,), daemon=True).start()

    def go_directly(self, send: Callable[[bytes], None]) -> None:
        """Send later connections to the sockets of memory and disks by this function, which raises OSError."""
        self._send_directly = send
        threading.Thread(target=_tick, args=(self._pass_directly,), daemon=True).start()

    def take(self, seconds: Optional[float]) -> Frame:
        """The next frame of no connection; None waits for ever. HostError when none comes."""
        try:
            return self._received.get(timeout=seconds)
        except queue.Empty:
            raise HostError(f"the other host has sent nothing for {seconds:g} s") from None

    def send(self, kind: int, data: bytes = b"", channel: int = 0) -> None:
        """Send a frame; the process ends when nobody takes it."""
        if channel in self._directly:
            self._pass_directly(kind, data, channel)
            return
        remaining = memoryview(frame(kind, channel, data))
        with self._output_lock:
            try:
                while remaining:
                    remaining = remaining[os.write(self._output, remaining) :]
            except OSError:
                lost("nobody takes what it sends")

    def _pass_directly(self, kind: int, data: bytes = b"", channel: int = 0) -> None:
        assert self._send_directly is not None
        with self._direct_lock:
            try:
                self._send_directly(frame(kind, channel, data))
            except OSError as error:
                lost(f"the other host is not reached directly any more: {error}")

    def serve(self, server: socket.socket, name: str) -> None:
        """Carry each connection to this socket to the socket `name` of the other end."""
        threading.Thread(target=self._accept, args=(server, name), daemon=True).start()

    def _accept(self, server: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError):  # the server was closed
            while True:
                connection, _ = server.accept()
                with self._output_lock:
                    channel = self._next_channel
                    self._next_channel += 1
                self._take_up(channel, connection, name, is_new=True)

    def _take_up(self, channel: int, connection: socket.socket, name: str, is_new: bool) -> None:
        self._sockets[channel] = connection
        if name == LIBVIRT:
            self._of_libvirt.add(channel)
        elif self._send_directly is not None:
            self._directly.add(channel)
        if is_new:
            self.send(OPEN, name.encode(), channel)
        threading.Thread(target=self._read, args=(channel, connection), daemon=True).start()

    def _read(self, channel: int, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := connection.recv(_PIECE_BYTES):
                self.send(DATA, data, channel)
        if self._connect is not None and channel in self._of_libvirt:
            lost("libvirt on the new host has closed the connection")
        self._of_libvirt.discard(channel)
        self.send(END, b"", channel)

    def receive(self, read: Callable[[int], bytes], ended: str) -> None:
        """Handle the frames of a way to this end; the process ends when they do, with this reason."""
        frames = Frames()
        try:
            while data := read(_PIECE_BYTES):
                for received in frames.put(data):
                    self._handle(received)
        except Exception as error:
            lost(f"{ended}: {type(error).__name__}: {error}")
        lost(ended)

    def _handle(self, received: Frame) -> None:
        kind, channel, data = received
        if kind == OPEN:
            if self._connect is None:
                lost("the other end opens a connection")
            assert self._connect is not None
            name = data.decode("ascii", "replace")
            try:
                self._take_up(channel, self._connect(name), name, is_new=False)
            except OSError as error:
                lost(f"the socket {name} does not answer on this host: {error}")
        elif kind in (DATA, END):
            self._write(channel, data, is_end=kind == END)
        elif kind != TICK:
            self._received.put(received)

    def _write(self, channel: int, data: bytes, is_end: bool) -> None:
        connection = self._sockets.get(channel)
        if connection is None:
            return
        if is_end and self._connect is None and channel in self._of_libvirt:
            lost("the new host has closed the connection to its libvirt")
        if is_end:
            self._of_libvirt.discard(channel)
        with contextlib.suppress(OSError):  # its program has closed it, and reports why
            if is_end:
                connection.shutdown(socket.SHUT_WR)
            else:
                connection.sendall(data)


def _tick(send: Callable[[int], None]) -> None:
    """A way that is full holds up no tick of the other one."""
    while True:
        wait_seconds(LIVE_TICK_SECONDS)
        send(TICK)


def _read_input(count: int) -> bytes:
    """Up to `count` bytes of standard input; nothing at its end, and when it was silent for too long."""
    ready, _, _ = select.select([0], [], [], LIVE_SILENT_SECONDS)
    return os.read(0, count) if ready else b""


def lost(why: str) -> None:
    """End this process at once, with all its connections."""
    with contextlib.suppress(OSError):  # the frontend may be the one that is lost
        os.write(2, f"the migration has ended early: {why}\n".encode())
    for remains in folders:
        shutil.rmtree(remains, ignore_errors=True)
    os._exit(LOST)


folders: List[Path] = []
"""What an end that loses the other one removes: a connection stays open when the name of its socket is gone."""


def connect_soon(path: str) -> socket.socket:
    """A connection to a unix socket, which may be made only now. OSError."""
    deadline = Deadline(_CONNECT_SECONDS)
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
            return connection
        except OSError:
            connection.close()
            if deadline.passed():
                raise
            wait_seconds(0.05)


# Both ends of a live migration, as programs of the agent.
#
# The old host's agent is the client of both libvirts; the sockets of the new host are carried to it by frames. Each
# end holds the machine's lock, so what another request finds afterwards is final.

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
