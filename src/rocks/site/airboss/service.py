"""The service by which owners control the machines of their virtual clusters: who asks, and whether it may be done.

The order: how often the address asks; the frame; the signature; only then the document, the service and the time in it,
the cluster, the key's kind, how often the cluster asks, and whether the request was accepted before.

Which ISOs an owner may insert is an attribute of the cluster's frontend (`airboss_images`), resolved as any; without it
none. All of the library was refused, since some have licences or secrets of one cluster; paths of the host, as in
Rocks, because a machine could then read any file there. The refusal is the same for an image of another cluster and for
a missing one.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import syslog
import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import process
from rocks.core.clock import Deadline, monotonic_seconds, utc_now
from rocks.core.errors import EXIT_SOME_HOSTS_FAILED, HostError, RocksError, StateError, UserError
from rocks.core.names import printable
from rocks.core.terminal import one_line
from rocks.database.connection import Database
from rocks.fleet.https.apart import serve
from rocks.fleet.https.server import RETRY_AFTER_SECONDS, Answer, Bounds, HttpsServer, Request
from rocks.fleet.relay import relay
from rocks.inventory.address_records import private_address
from rocks.inventory.attributes.records import resolve_attribute
from rocks.inventory.host_records import expand_selectors, local_host
from rocks.library.guest_images import EMPTY
from rocks.machine.cd import Medium, set_cdrom
from rocks.machine.consoles import connect_console, find_console
from rocks.machine.listing import show_vm_states
from rocks.machine.listing_records import vm_rows
from rocks.site.airboss import records as table
from rocks.site.airboss.keys import is_signature, rsa_bits
from rocks.site.airboss.records import allows_old_rsa
from rocks.site.airboss.rules import (
    HOUR_SECONDS,
    IMAGES_ATTRIBUTE,
    REFUSALS_SECONDS,
    Hours,
    Rates,
    Refusals,
    Shares,
    check_hour,
    check_rsa_bits,
    check_time,
    find_machines,
    given_image,
    machines_of_cluster,
    shortened,
)
from rocks.site.airboss.wire import (
    CDROM,
    CLUSTER_POWER,
    CONSOLE,
    LIST_MACS,
    LONGEST_BODY,
    PATH,
    SCREEN,
    UPGRADE,
    read_document,
    read_frame,
)
from rocks.storage.broker.broker import node_authority
from rocks.trust.audit import AuditRecord, Event

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from rocks.database.settings import Settings
    from rocks.site.airboss.rules import ClusterMachine
    from rocks.site.airboss.wire import OwnerRequest, SignedDocument


BOUNDS = Bounds(
    workers=64, connections=256, per_address=16, seconds=60.0, body_bytes=LONGEST_BODY, head_bytes=16384
)
PER_ADDRESS = (10.0, 60)
PER_CLUSTER = (5.0, 60)
"""Requests a second, and at once."""

PER_DAY = 10_000
"""Machines of a cluster that are switched, get an ISO or show a console in a day; as many that are switched off.

Each leaves its entries in the audit log, which loses none. They come back evenly; a new start of the service forgets
them.
"""

QUESTIONS = (4, 32)
"""Questions about states at once, of a cluster and of all: each waits for hosts, of which one may be silent."""

_FORGET_SECONDS = 600.0
_NO_SIGNATURE = "the request has no valid signature of a key that rocks list host key shows for a cluster"


def create_service(
    database: Database, address: str, port: int, log: Callable[[str], None], launcher: str
) -> HttpsServer:
    """The service on this frontend, with the frontend's certificate. StateError when it has none.

    `address` empty: that of the frontend on the network private. `launcher` is the program `rocks`. HostError when
    address and port are not free.
    """
    name = local_host(database)
    bundle = node_authority().bundle(name)
    place = address or private_address(database, name).address
    settings = database.settings
    database.end_reading()
    service = OwnerService(settings, name, launcher, log)

    def renewed() -> bytes:
        return node_authority().bundle(name).pair

    try:
        return HttpsServer(
            (place, port), bundle.pair, service.answer, log, BOUNDS, renewed, logs_bodies=False
        )
    except HostError as error:
        raise HostError(
            f"{error}; another program may have the port, or this service itself: ss -ltnp"
        ) from None


def run_service(service: HttpsServer) -> None:
    """Serve until the process is interrupted; a process without rights reads what owners send."""
    serve([service])


class _Asked(NamedTuple):
    """A request that is accepted, and the machines that it names."""

    request: OwnerRequest
    fingerprint: str
    cluster: str
    names: tuple[str, ...]
    machines: tuple[ClusterMachine, ...]


class OwnerService:
    """Answers requests of owners; each has a connection of its own to the database, and none while it waits."""

    def __init__(self, settings: Settings, name: str, launcher: str, log: Callable[[str], None]) -> None:
        """`name` is the frontend's: the service that a request must name."""
        self._settings, self._name, self._log = settings, name, log
        self._addresses, self._clusters = Rates(*PER_ADDRESS), Rates(*PER_CLUSTER)
        self._of_a_day = {is_off: Rates(PER_DAY / 86_400, PER_DAY) for is_off in (False, True)}
        self._lock = threading.Lock()
        self._next_forgetting = Deadline(0.0)
        self._hours = Hours()
        self._refusals = RefusedCalls(settings, log)
        self._power = Power(launcher)
        self._consoles = Consoles(settings, log)
        self._questions = Shares(*QUESTIONS, "questions about states")

    def answer(self, request: Request) -> Answer:
        """The answer to a client: a JSON object with `error` unless the request was accepted."""
        if not self._may_ask(self._addresses, request.address):
            return _later("this address asks too often")
        if request.method != "POST" or request.path != PATH:
            return _reply(404, {"error": f"requests are posted to {PATH}"})
        call = OwnerCall(request.address)
        try:
            signed = read_frame(request.body)
        except ValueError:
            return self._refused(call, 403, _NO_SIGNATURE)
        try:
            with Database(self._settings) as database:
                keys = table.keys_by_fingerprint(database, signed.fingerprint)
                if not keys or not is_signature(keys[0].pem, signed.signature, signed.signed_bytes):
                    return self._refused(call, 403, _NO_SIGNATURE)
                return self._answer_signed(database, signed, keys, call._replace(key=signed.fingerprint))
        except RocksError as error:  # ours: a client learns nothing of the site
            self._log(f"{request.address}: {error}")
            log_call(call, f"fault: {error}")
            return _later("the service cannot answer now")

    def _answer_signed(
        self, database: Database, signed: SignedDocument, keys: list[table.OwnerKey], call: OwnerCall
    ) -> Answer:
        try:
            request = read_document(signed.document)
        except ValueError as error:
            return self._refused(call, 400, f"the request is not valid: {error}")
        call = call._replace(
            cluster=request.cluster,
            what=_what(request),
            hosts=request.hosts,
            nonce=request.nonce,
        )
        owned = list(dict.fromkeys(key.cluster for key in keys))
        record = audit_record(database, call, owned)
        try:
            cluster = self._check(database, request, keys)
            if not self._may_ask(self._clusters, cluster.lower()):
                self._refused(call, 429, "the cluster asks too often")
                return _later("the cluster asks too often")
            if request.operation != LIST_MACS:  # which changes nothing
                self._take_of_day(request, cluster)
                record.begin()
            self._take_nonce(database, request)
            asked = _asked(database, request, signed.fingerprint, cluster)
            if request.operation == CLUSTER_POWER:
                self._charge_day(request, cluster, len(asked.names))
            content, answer = self._act(database, asked, call)
        except (UserError, StateError) as error:
            database.rollback()
            refused = call._replace(hosts=shortened(call.hosts))  # of any text, and each minute another
            if not record.is_written and self._refusals.is_first(refused, owned, error):
                record = audit_record(database, refused, owned)
                record.begin()
                record.fail(error)
            elif record.is_written:
                record.fail(error)
            return self._refused(call, 403 if isinstance(error, UserError) else 409, str(error))
        record.set_outcome(_exit_status(content))
        record.complete()
        if request.operation == CLUSTER_POWER:
            record_machines(database, call, owned, _outcomes(content))
        log_call(call, f"answered {answer.status}")
        return answer

    def _check(self, database: Database, request: OwnerRequest, keys: list[table.OwnerKey]) -> str:
        """Name of the cluster. UserError for a request for another service, from another time, or not of its owner."""
        if request.service.lower() != self._name.lower():
            raise UserError(f"the request is for {printable(request.service)}, this is another service")
        check_time(request.time, int(utc_now().timestamp()))
        clusters = [key for key in keys if key.cluster.lower() == request.cluster.lower()]
        if not clusters:
            raise UserError(f"this key controls no cluster {printable(request.cluster)}")
        bits = rsa_bits(clusters[0].pem)
        if bits is not None:
            check_rsa_bits(bits, allows_old_rsa(database, clusters[0].cluster))
        return clusters[0].cluster

    def _take_of_day(self, request: OwnerRequest, cluster: str) -> None:
        """Count the machines that the request names. StateError when the cluster has had all those of a day."""
        rates, count = self._of_a_day[request.action == "off"], max(1, len(request.hosts))
        with self._lock:
            is_allowed = rates.take(cluster.lower(), monotonic_seconds(), count)
        if not is_allowed:
            raise StateError(
                f"{PER_DAY} machines of the cluster {cluster} were controlled within a day, which is all that the site"
                " allows; they come back evenly: try again in some minutes, or ask the site's operators"
            )

    def _charge_day(self, request: OwnerRequest, cluster: str, count: int) -> None:
        with self._lock:
            self._of_a_day[request.action == "off"].charge(cluster.lower(), monotonic_seconds(), count)

    def _take_nonce(self, database: Database, request: OwnerRequest) -> None:
        """UserError for a request that was accepted before, or that may have been."""
        self._forget_hours(database)
        hour = request.time // HOUR_SECONDS
        if not table.take_nonce(database, request.nonce, request.time):
            raise UserError("the request was accepted before, and is not accepted again")
        check_hour(hour, table.is_past_hour(database, hour))
        database.commit()

    def _forget_hours(self, database: Database) -> None:
        """Now and then, forget the nonces of past hours."""
        with self._lock:
            if not self._next_forgetting.passed():
                return
            self._next_forgetting = Deadline(_FORGET_SECONDS)
        found = table.nonces_of_hours(database)
        with self._lock:
            counts = {hour: count for hour, (count, is_past) in found.items() if not is_past}
            past = self._hours.past(counts, monotonic_seconds())
        past += [hour for hour, (_, is_past) in found.items() if is_past]
        if past:
            has_more = table.forget_hours(database, past)
            database.commit()
            if has_more:
                self._next_forgetting = Deadline(0.0)

    def _act(self, database: Database, asked: _Asked, call: OwnerCall) -> tuple[Mapping[str, object], Answer]:
        """What is answered, and the answer; the former is empty for a console."""
        request = asked.request
        if request.operation in (CONSOLE, SCREEN):
            stream = self._consoles.open(
                database, asked.names[0], asked.cluster, asked.fingerprint, request.operation == CONSOLE, call
            )
            upgrade = {"Upgrade": UPGRADE, "Connection": "Upgrade"}
            return {}, Answer(101, "", b"", upgrade, stream=stream)
        if request.operation == LIST_MACS:
            content: Mapping[str, object] = {"machines": self._listed(database, asked)}
        elif request.operation == CDROM:
            medium = _requested_medium(database, asked.cluster, request.image)
            content = _insert_medium(database, asked.names[0], medium, request.boot, call)
        else:
            self._power.check(database, asked.names)
            database.close()
            content = self._power.switch(asked.cluster, asked.names, request.action, call)
        return content, _reply(200, content)

    def _listed(self, database: Database, asked: _Asked) -> object:
        if not asked.request.status:
            return list_machines(database, asked.machines, False)
        with self._questions.held(asked.cluster):
            return list_machines(database, asked.machines, True)

    def _may_ask(self, rates: Rates, key: str) -> bool:
        with self._lock:
            return rates.take(key, monotonic_seconds())

    def _refused(self, call: OwnerCall, status: int, text: str) -> Answer:
        log_call(call, f"refused: {text}")
        return _reply(status, {"error": text})


def _asked(database: Database, request: OwnerRequest, fingerprint: str, cluster: str) -> _Asked:
    """The request with the machines that it means. UserError for one that the cluster has not, or when it has none."""
    machines = table.machines_of(database, cluster)
    names = find_machines(request.hosts, machines)
    if request.operation == CLUSTER_POWER:
        names = machines_of_cluster(cluster, names, machines)
    return _Asked(request, fingerprint, cluster, tuple(names), tuple(machines))


def _what(request: OwnerRequest) -> str:
    """What is done to the machines, for the audit log."""
    parts = [request.operation, request.action]
    if request.operation == CDROM:
        parts = [CDROM, request.image or EMPTY[-1], f"boot={request.boot}" if request.boot else ""]
    return " ".join(filter(None, parts))


def _exit_status(content: Mapping[str, object]) -> int:
    """The outcome of a request, as the command of an operator has it: 1, or 3 when only some machines failed."""
    if not content.get("failed"):
        return 0
    return EXIT_SOME_HOSTS_FAILED if content.get("done") else 1


def _outcomes(content: Mapping[str, object]) -> dict[str, int | None]:
    """Machine → its exit status, of an answer to `power`; None for one that is begun."""
    statuses = {"done": 0, "failed": 1, "begun": None}
    found: dict[str, int | None] = {}
    for part, status in statuses.items():
        names = content.get(part, ())
        assert isinstance(names, (list, tuple))
        found.update({str(name): status for name in names})
    return found


def _later(text: str) -> Answer:
    body = _reply(503, {"error": f"{text}; try again later"})
    return Answer(503, body.content_type, body.body, {"Retry-After": str(RETRY_AFTER_SECONDS)})


def _reply(status: int, content: Mapping[str, object]) -> Answer:
    return Answer(status, "application/json", json.dumps(content).encode())


def _requested_medium(database: Database, cluster: str, image: str) -> Medium:
    """The medium that the owner of a cluster may insert; no image: none. UserError for an image that is not given."""
    if not image:
        return Medium()
    given = resolve_attribute(database, IMAGES_ATTRIBUTE, [cluster]).get(cluster, "")
    return Medium(image=given_image(cluster, image, given))


def _insert_medium(
    database: Database, name: str, medium: Medium, boot: str, call: OwnerCall
) -> dict[str, object]:
    """Insert the medium from the next start of the machine; the answer: `done` and `failed`, as for its power.

    Why it failed is for operators only: the text names the image library, and attributes of wider scopes.
    """
    try:
        set_cdrom(database, name, medium, boot or None)
        database.commit()
    except RocksError as error:
        database.rollback()
        log_call(call, f"failed: {error}")
        return {"begun": [], "done": [], "failed": [name]}
    return {"begun": [], "done": [name], "failed": []}


# What owners do with the machines of their clusters: list them, and switch them by `rocks set host power`.
#
# The power of a whole cluster is one request, and the frontend finds the machines in the transaction that
# checks the key: a list of the owner would be older, and has at most 256. The cluster's frontend is left on,
# since an owner who switches it off from inside cannot switch it on again.


WAIT_SECONDS = 45.0
"""How long an answer waits for a start or stop; the bound of a connection is 60 s."""

_COMMAND_SECONDS = 4 * 3600.0
"""A start may wait for an image that is written back."""

_COMMANDS_AT_ONCE = 16
_COMMANDS_OF_ONE = 4
_FAILURE = re.compile(r"^Error: ([^\s:]+)[\s:]", re.MULTILINE)


def list_machines(
    database: Database, machines: Sequence[ClusterMachine], with_status: bool
) -> list[dict[str, object]]:
    """The machines as they are answered: `mac` (on the cluster's VLAN), `names`, and with `with_status` the `state`."""
    states: dict[str, str] = {}
    if with_status:
        rows = vm_rows(database, [machine.name for machine in machines])
        found = show_vm_states(database, {row.name: row.container for row in rows})
        states = {name: state.text for name, state in found.states.items()}
    listed: list[dict[str, object]] = []
    for machine in machines:
        mac = machine.macs[0] if machine.macs else ""
        listed.append({"mac": mac, "names": [machine.name, *machine.aliases]})
        if with_status:
            listed[-1]["state"] = states.get(machine.name, "")
    return listed


class Power:
    """Runs `rocks set host power` for owners, a bounded number of commands at once, for each cluster and together."""

    def __init__(self, launcher: str) -> None:
        self._launcher = launcher
        self._shares = Shares(_COMMANDS_OF_ONE, _COMMANDS_AT_ONCE, "commands at work")

    def check(self, database: Database, names: Sequence[str]) -> None:
        """StateError when the command would take a name for another host's, too."""
        if set(expand_selectors(database, list(names))) != set(names):
            raise StateError(
                "the name of a machine means other hosts of the site, too; ask the site's operators"
            )

    def switch(self, cluster: str, names: Sequence[str], action: str, call: OwnerCall) -> dict[str, object]:
        """Switch machines `on` or `off`, or `install` them; the answer: `done`, `failed`, and whether that is all yet.

        A command that takes longer than an answer may goes on (`begun`). StateError beyond the bounds.
        """
        share = ExitStack()
        share.enter_context(self._shares.held(cluster))
        outcome: queue.SimpleQueue[set[str]] = queue.SimpleQueue()

        def work() -> None:
            with share:
                outcome.put(self._run(tuple(names), action, call))

        try:
            threading.Thread(target=work, daemon=True).start()
        except BaseException:
            share.close()
            raise
        try:
            failed = outcome.get(timeout=WAIT_SECONDS)
        except queue.Empty:
            return {"begun": list(names), "done": [], "failed": []}
        return {
            "begun": [],
            "done": [name for name in names if name not in failed],
            "failed": [name for name in names if name in failed],
        }

    def _run(self, names: tuple[str, ...], action: str, call: OwnerCall) -> set[str]:
        """The machines that failed. Why is for operators only: the text names hosts, devices and other machines."""
        try:
            finished = process.run(
                [*_outside_of_unit(), self._launcher, "set", "host", "power", *names, f"action={action}"],
                deadline_seconds=_COMMAND_SECONDS,
            )
        except RocksError as error:
            log_call(call, f"failed: {error}")
            return set(names)
        failed = set(names) if finished.exit_status else set()
        if finished.exit_status == EXIT_SOME_HOSTS_FAILED:
            failed = failed & set(_FAILURE.findall(finished.error_text)) or failed
        outcome = "done" if not failed else f"failed: {finished.error_text}"
        log_call(call, f"{outcome} (exit status {finished.exit_status})")
        return failed


def _outside_of_unit() -> list[str]:
    """How a unit of systemd starts a program without its own restrictions: it may have to start a machine here."""
    if "RUNTIME_DIRECTORY" not in os.environ:
        return []
    return ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--"]


# Consoles of owners: the serial line or the screen of a machine, over the connection of the request.


CHECK_SECONDS = 5.0
"""How often an open console looks whether its key and its machine are still the cluster's."""

_STALLED_SECONDS = 60.0
_OF_ONE, _OF_ALL = 8, 64


class Consoles:
    """The open consoles of all clusters, a bounded number."""

    def __init__(self, settings: Settings, log: Callable[[str], None]) -> None:
        self._settings, self._log = settings, log
        self._shares = Shares(_OF_ONE, _OF_ALL, "open consoles")

    def open(
        self, database: Database, name: str, cluster: str, fingerprint: str, is_serial: bool, call: OwnerCall
    ) -> ConsoleStream:
        """Open the console of a machine. StateError when it does not run or has none, or beyond the bounds.

        The stream ends when the cluster has that key or that machine no more.
        """
        opened = ExitStack()
        opened.enter_context(self._shares.held(cluster))
        try:
            address, console = find_console(database, name)
            database.close()
            descriptor = connect_console(opened, name, address, console, is_serial)
        except (RocksError, OSError) as error:
            self._log(f"console of {name}: {error}")
            opened.close()
            raise StateError(
                f"{name} does not run, or has no such console; list host macs status=yes shows its state"
            ) from None
        except BaseException:
            opened.close()
            raise
        opened.callback(log_call, call, "closed")
        return ConsoleStream(descriptor, partial(self._is_allowed, name, cluster, fingerprint), opened)

    def _is_allowed(self, name: str, cluster: str, fingerprint: str) -> bool:
        try:
            with Database(self._settings) as database:
                keys = table.keys_by_fingerprint(database, fingerprint)
                machines = table.machines_of(database, cluster)
        except RocksError as error:
            self._log(f"console of {name} is closed: {error}")
            return False
        return any(key.cluster == cluster for key in keys) and any(one.name == name for one in machines)


class ConsoleStream:
    """An open console: the server carries its bytes, and closes it."""

    def __init__(self, descriptor: int, is_still_allowed: Callable[[], bool], opened: ExitStack) -> None:
        self._descriptor, self._is_still_allowed, self._opened = descriptor, is_still_allowed, opened

    def run(self, connection: socket.socket) -> None:
        """Carry bytes both ways until one end closes, or the cluster must not have the console any more."""
        relay(connection, self._descriptor, self._is_still_allowed, CHECK_SECONDS, _STALLED_SECONDS)

    def close(self) -> None:
        """End the program or the way to the screen."""
        self._opened.close()


# What owners of virtual clusters asked: each request in the system log, each signed change in the audit log, too.


_LONGEST = 2000


class OwnerCall(NamedTuple):
    """A request of an owner as it is recorded; without a `key`, nothing of it is proven.

    `key` is the fingerprint of the key that signed. `address` is the client's.
    """

    address: str
    key: str = ""
    cluster: str = ""
    what: str = ""
    hosts: tuple[str, ...] = ()
    nonce: str = ""


def log_call(call: OwnerCall, outcome: str) -> None:
    """Record a request and its outcome, or how it went on, in the system log."""
    parts = {
        "address": call.address,
        "key": call.key[:16],
        "cluster": call.cluster,
        "request": call.nonce[:8],
        "what": " ".join((call.what, *call.hosts)).strip(),
        "outcome": outcome,
    }
    text = " ".join(f"{name}={one_line(value)!r}" for name, value in parts.items() if value)
    syslog.openlog("rocks-airboss", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    syslog.syslog(syslog.LOG_NOTICE, text[:_LONGEST])


def record_machines(
    database: Database, call: OwnerCall, clusters: Sequence[str], outcomes: Mapping[str, int | None]
) -> None:
    """An entry in the audit log for each machine of one request, with its exit status; None while it is at work.

    All in one transaction. The machines are switched already: an error is in the system log only.
    """
    try:
        for name, status in outcomes.items():
            record = audit_record(database, call._replace(hosts=(name,)), clusters)
            if status is not None:
                record.set_outcome(status)
            record.add()
        database.commit()
    except RocksError as error:
        log_call(call, f"the machines are not in the audit log: {error}")


def audit_record(database: Database, call: OwnerCall, clusters: Sequence[str]) -> AuditRecord:
    """The record of a signed request in the audit log. `clusters` are those of the key."""
    return AuditRecord(database, Event("control", _owner(clusters), call.address, _action(call)))


class _Refused(NamedTuple):
    call: OwnerCall
    clusters: Sequence[str]
    error: RocksError

    def event(self, count: int) -> Event:
        """The event of so many requests, of which this is the last."""
        action = f"{count} more refused, the last: {_action(self.call)}"
        return Event("control", _owner(self.clusters), self.call.address, action)


class RefusedCalls:
    """Bounds the entries of refused requests in the audit log: one for each key and minute; the system log has all."""

    def __init__(self, settings: Settings, log: Callable[[str], None]) -> None:
        self._settings, self._log = settings, log
        self._lock = threading.Lock()
        self._refusals: Refusals[_Refused] = Refusals()
        self._has_timer = False

    def is_first(self, call: OwnerCall, clusters: Sequence[str], error: RocksError) -> bool:
        """Whether the caller is to record the request; if not, it is counted, and the number recorded in a minute."""
        with self._lock:
            is_first = self._refusals.is_first(call.key, _Refused(call, clusters, error), monotonic_seconds())
            if not self._has_timer:
                self._begin_timer()
        return is_first

    def record_due(self) -> None:
        """Record the numbers of those whose minute is over."""
        with self._lock:
            due = self._refusals.take_due(monotonic_seconds())
        if not due:
            return
        with Database(self._settings) as database:
            for count, refused in due:
                record = AuditRecord(database, refused.event(count))
                record.begin()
                record.fail(refused.error)

    def _begin_timer(self) -> None:
        timer = threading.Timer(REFUSALS_SECONDS, self._end_timer)
        timer.daemon = True
        with contextlib.suppress(RuntimeError):  # no thread can be started now: the next refusal begins one
            timer.start()
            self._has_timer = True

    def _end_timer(self) -> None:
        try:
            self.record_due()
        except RocksError as error:
            self._log(f"the number of refused requests is not in the audit log: {error}")
        finally:
            with self._lock:
                self._has_timer = False
                if self._refusals:
                    self._begin_timer()


def _owner(clusters: Sequence[str]) -> str:
    return f"owner of {', '.join(clusters)}"


def _action(call: OwnerCall) -> str:
    return f"{' '.join((call.what, *call.hosts))} (request {call.nonce[:8]})"
