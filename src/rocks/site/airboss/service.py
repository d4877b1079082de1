"""The service by which owners control the machines of their virtual clusters: who asks, and whether it may be done.

The order: how often the address asks; the frame; the signature; only then the document, the service and the time in it,
the cluster, the key's kind, how often the cluster asks, and whether the request was accepted before.

Which ISOs an owner may insert is an attribute of the cluster's frontend (`airboss_images`), resolved as any; without it
none. All of the library was refused, since some have licences or secrets of one cluster; paths of the host, as in
Rocks, because a machine could then read any file there. The refusal is the same for an image of another cluster and for
a missing one.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.clock import Deadline, monotonic_seconds, utc_now
from rocks.core.errors import EXIT_SOME_HOSTS_FAILED, HostError, RocksError, StateError, UserError
from rocks.core.names import printable
from rocks.database.connection import Database
from rocks.fleet.https.apart import serve
from rocks.fleet.https.server import RETRY_AFTER_SECONDS, Answer, Bounds, HttpsServer, Request
from rocks.inventory.address_records import private_address
from rocks.inventory.attributes.records import resolve_attribute
from rocks.inventory.host_records import local_host
from rocks.library.guest_images import EMPTY
from rocks.machine.cd import Medium, set_cdrom
from rocks.site.airboss import records as table
from rocks.site.airboss.audit import OwnerCall, RefusedCalls, audit_record, log_call, record_machines
from rocks.site.airboss.consoles import Consoles
from rocks.site.airboss.keys import is_signature, rsa_bits
from rocks.site.airboss.machines import Power, list_machines
from rocks.site.airboss.owner_keys import allows_old_rsa
from rocks.site.airboss.rules import (
    HOUR_SECONDS,
    IMAGES_ATTRIBUTE,
    Hours,
    Rates,
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

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
