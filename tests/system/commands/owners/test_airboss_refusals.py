"""What the owners' service refuses: repeated, forged, damaged and too many requests, and keys that do not count."""

import base64
import datetime
import hashlib
import json
import socket
import ssl
import threading
import time

import pytest

from rocks.core.process import run_checked
from rocks.site.airboss import client
from rocks.site.airboss import service as airboss_service
from rocks.site.airboss.wire import SIGNED_PREFIX
from tests.system.commands.owners.airboss_site import Service, refused


@pytest.mark.slow
def test_a_request_is_accepted_once(service: Service) -> None:
    """Also after a new start of the service, of which only the database remembers anything."""
    body = service.signed(service.document(operation="power", hosts=["vm-one-0"], action="on"))
    assert service.post(body)[0] == 200
    for _ in range(2):
        status, text = service.post(body)
        assert status == 403 and "accepted before" in text
    status, text = answer_to(service.another(), body)
    assert status == 403 and "accepted before" in text
    assert (service.folder / "switched").read_text().count("\n") == 1


def answer_to(owner_service: airboss_service.OwnerService, body: bytes) -> tuple[int, str]:
    """Status and error text of a service that no socket leads to."""
    answer = owner_service.answer(airboss_service.Request("127.0.0.1", "/airboss", [], 0, "POST", body))
    return answer.status, str(json.loads(answer.body).get("error", ""))


class Clocks:
    """The frontend's time of day, and its clock that nobody sets: seconds before or after the real ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.day = self.steady = 0.0
        real_day, real_steady = airboss_service.utc_now, airboss_service.monotonic_seconds
        monkeypatch.setattr(
            airboss_service, "utc_now", lambda: real_day() + datetime.timedelta(seconds=self.day)
        )
        monkeypatch.setattr(airboss_service, "monotonic_seconds", lambda: real_steady() + self.steady)
        monkeypatch.setattr(airboss_service, "_FORGET_SECONDS", 0.0)


def test_a_clock_that_is_set_forward_and_back_lets_no_request_pass_twice(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks(monkeypatch)
    own = service.another()
    body = service.signed(service.document())
    assert answer_to(own, body)[0] == 200
    for seconds in (86400.0, -86400.0, 30 * 86400.0):
        clocks.day = seconds
        for _ in range(2):
            later = service.signed(service.document(time=int(time.time() + seconds)))
            assert answer_to(own, later)[0] == 200
            assert answer_to(own, later) == (
                403,
                "the request was accepted before, and is not accepted again",
            )
    clocks.day = 0.0
    assert answer_to(own, body) == (403, "the request was accepted before, and is not accepted again")
    assert answer_to(own, service.signed(service.document()))[0] == 200


def test_of_an_hour_that_is_forgotten_nothing_is_accepted_any_more(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours later the accepted requests of that hour are gone; a clock that is set back to it lets none pass."""
    clocks = Clocks(monkeypatch)
    own = service.another()
    body = service.signed(service.document())
    assert answer_to(own, body)[0] == 200
    for seconds in (7200, 14400):
        clocks.day = clocks.steady = float(seconds)
        assert answer_to(own, service.signed(service.document(time=int(time.time()) + seconds)))[0] == 200
    stored = [when for (when,) in service.site.database.rows("SELECT Stated FROM airboss_nonces")]
    assert len(stored) == 2 and min(stored) > time.time() + 3600, "the first one is forgotten"
    clocks.day = 0.0
    status, text = answer_to(own, body)
    assert status == 403 and "was set back" in text
    again = service.another()
    assert answer_to(again, body)[0] == 403


def test_refused_requests_of_a_key_are_one_entry_of_the_audit_log_a_minute(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks(monkeypatch)
    monkeypatch.setattr(airboss_service, "PER_ADDRESS", (1000.0, 1000))
    log: list[str] = []
    own = airboss_service.OwnerService(service.site.database.settings, "head", "/bin/true", log.append)

    def entries() -> list[str]:
        service.site.database.end_reading()
        rows = service.site.database.rows(
            "SELECT Action FROM sec_audit WHERE Source = 'control' ORDER BY Number"
        )
        return [str(action) for (action,) in rows]

    for number in range(30):
        late = service.document(time=1000 + number, hosts=[f"machine-{number}"])
        assert answer_to(own, service.signed(late))[0] == 403
    assert len(entries()) == 1 and "machine-0 " in entries()[0]
    assert answer_to(own, service.signed(service.document(time=1, cluster="two"), "two.key"))[0] == 403
    assert len(entries()) == 2, "each key has its own"
    clocks.steady = 60.0
    own._refusals.record_due()
    (_, _, counted) = entries()
    assert counted.startswith("29 more refused, the last: list macs machine-29 (request ")
    listed = service.site.done("list audit 'user=owner of one' failed=yes")
    assert "29 more refused" in listed
    service.site.done("check audit")
    assert log == []


def test_the_same_request_many_times_at_once(service: Service) -> None:
    body = service.signed(service.document(operation="power", hosts=["vm-one-0"], action="on"))
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(service.post(body)[0])) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(200) == 1 and set(found) == {200, 403}


def test_signed_but_refused(service: Service) -> None:
    for fields, reason in [
        ({"time": int(time.time()) - 100_000}, "seconds slow"),
        ({"time": int(time.time()) + 100_000}, "seconds fast"),
        ({"service": "other"}, "another service"),
        ({"operation": "reboot"}, "request.operation"),
        ({"nonce": "1"}, "request.nonce"),
        ({"time": "now"}, "request.time"),
        ({"time": 1e300}, "request.time"),
        ({"more": 1}, "more"),
        ({"hosts": ["x"] * 257}, "request.hosts"),
        ({"hosts": [""]}, "name"),
        ({"hosts": "vm-one-0"}, "request.hosts"),
        ({"cluster": "x" * 300}, "name"),
        ({"operation": "power", "action": "on"}, "request.hosts"),
        ({"operation": "power", "hosts": ["vm-one-0"], "action": "on; reboot"}, "request.action"),
        ({"operation": "console", "hosts": ["vm-one-0", "vm-one-1"]}, "request.hosts"),
        ({"operation": "console", "hosts": ["vm-one-0"]}, "does not run"),
    ]:
        status, text = service.post(service.signed(service.document(**fields)))
        assert status in (400, 403, 409) and reason in json.loads(text)["error"], text
        assert service.outcomes[-1].startswith("refused: ")
    for data in [
        b"\xff\xfe",
        b"[" * 20000,
        b'{"time": ' + b"9" * 20000 + b"}",
        b'{"service": "head", "service": "head"}',
        b'{"time": NaN}',
        b"null",
        b'{"cluster": "\\ud800"}',
    ]:
        status, text = service.post(service.signed(data))
        assert status == 400 and "not valid" in text


@pytest.mark.slow
def test_nothing_is_read_before_the_signature_holds(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these is answered alike, and the document is not looked at."""
    parsed: list[bytes] = []
    read = airboss_service.read_document

    def watched(document: bytes) -> object:
        parsed.append(document)
        return read(document)

    monkeypatch.setattr(airboss_service, "read_document", watched)
    good = service.signed(service.document())
    line, _, document = good.partition(b"\n")
    foreign = service.signed(service.document(), "two.key").partition(b"\n")[0]
    stranger = hashlib.sha256(b"nobody").hexdigest().encode()
    bodies = [
        b"",
        b"\n",
        document,
        b"x" * 30000,
        b"rocks-airboss-1 " + b"\n" * 100,
        b"rocks-airboss-1 zz zz\n" + document,
        line + b" more\n" + document,
        line + b"\n" + document + b" ",
        line + b"\n",
        line.replace(b"-1 ", b"-2 ") + b"\n" + document,
        foreign + b"\n" + document,
        line[:-8] + b"AAAAAA==\n" + document,
        line[:16] + stranger + line[80:] + b"\n" + document,
        line[:81] + b"A" * 1900 + b"\n" + document,
    ]
    answers = {service.post(body) for body in bodies}
    assert len(answers) == 1 and next(iter(answers))[0] == 403
    assert parsed == []
    assert service.post(good)[0] == 200 and parsed == [document]


def test_other_requests_get_no_more_than_a_refusal(service: Service) -> None:
    assert service.raw(b"GET / HTTP/1.1\r\n\r\n")[0] == 404
    assert service.raw(b"PUT /airboss HTTP/1.1\r\n\r\n")[0] == 501
    assert service.raw(b"POST /airboss HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n")[0] == 413
    assert service.raw(b"POST /airboss HTTP/1.1\r\n\r\n")[0] == 411
    assert service.raw(b"POST /airboss HTTP/1.1\r\n" + b"X: " + b"y" * 5000 + b"\r\n" * 1 + b"\r\n")[0] == 411
    many = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 5000) for number in range(50))
    assert service.raw(b"POST /airboss HTTP/1.1\r\n" + many + b"\r\n")[0] in (0, 431)
    assert service.raw(b"\x00" * 100 + b"\r\n")[0] in (0, 400)
    assert len(service.ask("list macs")["machines"]) == 3


def test_half_requests_do_not_stop_others(service: Service) -> None:
    """As many open ones as an address may have, from several addresses, each with half a request."""
    context = ssl.create_default_context(cafile=str(service.folder / "authority/ca.crt"))
    opened: list[socket.socket] = []
    try:
        for number in range(120):
            plain = socket.create_connection(
                ("127.0.0.1", service.port), timeout=60, source_address=(f"127.0.1.{1 + number // 15}", 0)
            )
            opened.append(plain)
            if number % 5:
                continue
            opened[-1] = context.wrap_socket(plain, server_hostname="head")
            opened[-1].sendall(b"POST /airboss HTTP/1.1\r\nContent-Length: 500\r\n\r\nrocks-airboss-1 ")
        assert len(service.ask("list macs")["machines"]) == 3
    finally:
        for one in opened:
            one.close()


def test_who_asks_too_often_waits(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an address, nothing more is read; of a cluster, it does not matter from where it asks."""

    def statuses(bodies: list[bytes], addresses: list[str]) -> list[int]:
        own = service.another()
        requests = [
            airboss_service.Request(address, "/airboss", [], 0, "POST", body)
            for body, address in zip(bodies, addresses, strict=True)
        ]
        return [own.answer(request).status for request in requests]

    good = [service.signed(service.document()) for _ in range(6)]
    monkeypatch.setattr(airboss_service, "PER_ADDRESS", (0.0, 3))
    assert statuses([b"x", *good[:3], good[3]], ["a"] * 4 + ["b"]) == [403, 200, 200, 503, 200]
    monkeypatch.setattr(airboss_service, "PER_CLUSTER", (0.0, 1))
    other = service.signed(service.document(cluster="two"), "two.key")
    assert statuses([good[4], good[5], other], ["a", "b", "c"]) == [200, 503, 200]


def entries(service: Service) -> list[str]:
    """The owners' entries in the audit log."""
    service.site.database.end_reading()
    rows = service.site.database.rows(
        "SELECT Action FROM sec_audit WHERE Source = 'control' AND Concerns IS NULL ORDER BY Number"
    )
    return [str(action).partition(" (request ")[0] for (action,) in rows]


def test_what_a_cluster_adds_to_the_audit_log_in_a_day_has_a_bound(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log loses no entry. Lists are not in it, and what is on can always be switched off."""
    clocks = Clocks(monkeypatch)
    monkeypatch.setattr(airboss_service, "PER_DAY", 4)
    own = service.another()

    def status(operation: str, *hosts: str, key: str = "one", action: str = "") -> int:
        fields = {"operation": operation, "hosts": list(hosts), "action": action, "cluster": key}
        return answer_to(own, service.signed(service.document(**fields), f"{key}.key"))[0]

    assert status("power", "vm-one-0", "vm-one-1", "vm-one-0", action="on") == 200
    assert status("cluster power", action="on") == 200, "one was left"
    refusal = own.answer(
        airboss_service.Request(
            "127.0.0.1", "/airboss", [], 0, "POST",
            service.signed(service.document(operation="power", hosts=["vm-one-0"] * 256, action="on")),
        )
    )  # fmt: skip
    assert (
        refusal.status == 409
        and b"4 machines of the cluster one were controlled within a day" in refusal.body
    )
    assert status("console", "vm-one-0") == 409
    assert [status("list macs") for _ in range(5)] == [200] * 5
    assert status("power", "vm-one-0", action="off") == 200
    assert status("power", "vm-two-0", key="two", action="on") == 200, "each cluster has its own"
    assert entries(service) == [
        "power on vm-one-0 vm-one-1 vm-one-0",
        "cluster power on",
        "cluster power on vm-one-0",
        "cluster power on vm-one-1",
        "power on vm-one-0 vm-one-0 vm-one-0 and 253 more",
        "power off vm-one-0",
        "power on vm-two-0",
    ]
    clocks.steady = 86_400.0
    assert status("power", "vm-one-0", action="on") == 200, "they come back evenly"


def test_accepted_requests_are_forgotten_faster_than_they_can_come(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hundred clusters that ask as often as they may, more come in ten minutes than are removed at once."""
    monkeypatch.setattr("rocks.site.airboss.records.MAX_REMOVED", 2)
    database, old = service.site.database, int(time.time()) - 86_400
    database.insert_many(
        "INSERT INTO airboss_nonces (Nonce, Stated) VALUES", [(f"{number:032x}", old) for number in range(5)]
    )
    database.execute("INSERT INTO airboss_past_hours (Hour) VALUES (%s)", (old // 3600,))
    database.commit()
    own = service.another()
    for _ in range(3):
        assert answer_to(own, service.signed(service.document()))[0] == 200
    database.end_reading()
    assert database.rows("SELECT COUNT(*) FROM airboss_nonces WHERE Stated = %s", (old,)) == [(0,)]


def openssl(*arguments: str, standard_input: bytes = b"") -> bytes:
    """What the program prints."""
    return run_checked(["openssl", *arguments], deadline_seconds=60, standard_input=standard_input).output


def test_a_key_counts_until_it_is_removed(service: Service) -> None:
    site = service.site
    (number,) = site.database.rows(
        "SELECT k.ID FROM public_keys k JOIN nodes n ON n.ID = k.Node WHERE n.Name = 'one'"
    )[0]
    site.done("remove host key one", f"id={number}")
    assert "no valid signature" in refused(lambda: service.ask("list macs"))
    public = openssl("pkey", "-in", str(service.folder / "one.key"), "-pubout").decode()
    site.done("add host key vm-one-0", f"key={public}")
    assert "no valid signature" in refused(lambda: service.ask("list macs")), "not a frontend of a cluster"


def test_short_rsa_keys_need_the_sites_consent(service: Service) -> None:
    """And signatures of PKCS#1 v1.5 are never accepted."""
    old = service.folder / "old.key"
    openssl("genrsa", "-out", str(old), "1024")
    public = openssl("rsa", "-in", str(old), "-pubout").decode()
    add = ("add", "host", "key", "one", f"key={public}")
    error = service.site.refused(*add)
    assert "1024 bits, at least 2048 are needed" in error and "rocks create keys" in error
    assert "rocks set host attr one airboss_old_rsa true" in error
    service.site.done("set host attr one airboss_old_rsa true")
    assert "Warning: this RSA key has 1024 bits" in service.site.rocks(*add).err
    service.site.done("set host attr one airboss_old_rsa false")
    assert "1024 bits" in refused(lambda: service.ask("list macs", key="old.key"))
    service.site.done("set host attr one airboss_old_rsa true")
    assert len(service.ask("list macs", key="old.key")["machines"]) == 3
    data = json.dumps(service.document()).encode()
    for digest in ("-sha1", "-sha256"):
        signature = openssl("dgst", digest, "-sign", str(old), standard_input=SIGNED_PREFIX + data)
        fingerprint = client.open_key(str(old)).fingerprint.encode()
        body = b" ".join((b"rocks-airboss-1", fingerprint, base64.b64encode(signature))) + b"\n" + data
        assert service.post(body)[0] == 403
