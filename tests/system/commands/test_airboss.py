"""The owners' remote control: the real service and its database, and the program of an owner as a process of its own.

The site's hosts are silent here; power and consoles of real guests are tried in tests/system/vms/test_airboss.py.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import os
import socket
import ssl
import subprocess  # noqa: TID251 - the owner's program runs as a process
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rocks.actions import airboss_audit, airboss_service, message_broker
from rocks.actions.airboss_audit import OwnerCall
from rocks.actions.airboss_service import make_service
from rocks.database.connection import Database
from rocks.errors import StateError
from rocks.hosts import airboss_client as client
from rocks.hosts.broker import BrokerSettings
from rocks.hosts.https_server import HttpsServer
from rocks.wire.airboss import SIGNED_PREFIX

from .conftest import Site

CHECKOUT = Path(__file__).parents[3]
PROGRAM = CHECKOUT / "src/rocks/hosts/airboss_client.py"
SWITCH = """#!/bin/sh
echo "$@" >>{record}
case "$*" in *broken*) echo "Error: a device of another machine" >&2; exit 1;; esac
case "$*" in *install*) echo "Error: $4: secret of the site" >&2; exit 3;; esac
"""


class Service:
    """A service that runs, what it logged and recorded, and the owners' settings for it."""

    def __init__(self, server: HttpsServer, folder: Path, site: Site) -> None:
        self.server, self.folder, self.site = server, folder, site
        self.port = int(server.server_address[1])
        self.log: list[str] = []
        self.calls: list[tuple[OwnerCall, str]] = []

    def settings(self, cluster: str = "one", key: str = "one.key") -> client.Settings:
        """What an owner has in the settings of the program."""
        authority = str(self.folder / "authority/ca.crt")
        return client.Settings("127.0.0.1", self.port, "head", cluster, authority, str(self.folder / key))

    def ask(
        self, operation: str, cluster: str = "one", key: str = "one.key", **fields: object
    ) -> dict[str, Any]:
        """The answer to a request of an owner; AirbossError for one that is refused."""
        settings = self.settings(cluster, key)
        return client.ask(settings, client.open_key(settings.key), operation, **fields)

    def program(
        self, *arguments: str, cluster: str = "one", key: str = "one.key"
    ) -> subprocess.CompletedProcess[str]:
        """Run the owner's program, with nothing of ours in its path."""
        own = self.settings(cluster, key)
        given = [f"{name}={getattr(own, name)}" for name in ("name", "cluster", "authority", "key")]
        return subprocess.run(
            [
                "/usr/bin/env",
                "-i",
                "PATH=/usr/bin:/bin",
                "HOME=/nowhere",
                "python3",
                "-I",
                PROGRAM,
                *arguments,
            ]
            + [f"server=127.0.0.1:{self.port}", *given],
            capture_output=True,
            text=True,
            timeout=120,
        )

    def raw(self, data: bytes) -> tuple[int, str]:
        """Status and text of the answer to any bytes; 0 without one."""
        context = ssl.create_default_context(cafile=str(self.folder / "authority/ca.crt"))
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=60) as plain,
            context.wrap_socket(plain, server_hostname="head") as connection,
        ):
            try:
                connection.sendall(data)
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
            except OSError:
                return 0, ""
        head, _, body = answer.partition(b"\r\n\r\n")
        return (int(head.split()[1]), body.decode()) if head.startswith(b"HTTP/") else (0, "")

    def post(self, body: bytes) -> tuple[int, str]:
        """Status and text of the answer to a body, whatever it is."""
        return self.raw(b"POST /airboss HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def signed(self, document: object, key: str = "one.key") -> bytes:
        """A body with a document, JSON or bytes, and the signature of a key."""
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        opened = client.open_key(str(self.folder / key))
        signature = base64.b64encode(client.sign(opened, SIGNED_PREFIX + data))
        return b"rocks-airboss-1 " + opened.fingerprint.encode() + b" " + signature + b"\n" + data

    def document(self, **fields: object) -> dict[str, object]:
        """A document that would be accepted, with other fields."""
        return {
            "service": "head",
            "cluster": "one",
            "time": int(time.time()),
            "nonce": os.urandom(16).hex(),
            "operation": "list macs",
            "hosts": [],
            "action": "",
            "status": False,
        } | fields

    @property
    def outcomes(self) -> list[str]:
        return [outcome for _, outcome in self.calls]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Keys of two owners: the path of the private key → the public key."""
    folder = tmp_path_factory.mktemp("keys")
    return {
        str(folder / f"{name}.key"): client.create_key(str(folder / f"{name}.key"), "ed25519", False)
        for name in ("one", "two")
    }


def add_clusters(site: Site, folder: Path, keys: dict[str, str]) -> None:
    """Clusters `one` and `two`, each with two computes and the key of its owner."""
    for path in keys:
        (folder / Path(path).name).symlink_to(path)
    for number, (name, public) in enumerate(zip(("one", "two"), keys.values(), strict=True)):
        site.done(
            "add", "cluster", f"ip=203.0.113.{10 + number}", "num-computes=2", f"fe-name={name}",
            "container-hosts=vmc-0-0", "fe-container=vmc-0-1", "cluster-naming=yes",
        )  # fmt: skip
        site.done("add", "host", "key", name, f"key={public}")


@pytest.fixture
def service(
    vm_site: Site, tmp_path: Path, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """The service on a port of its own, with two clusters."""
    monkeypatch.setattr(message_broker, "AUTHORITY_FOLDER", str(tmp_path / "authority"))
    monkeypatch.setattr(
        message_broker, "read_broker_settings", lambda: BrokerSettings("/nowhere/rabbitmqctl")
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    vm_site.done("add", "host", "certificate", "head")
    add_clusters(vm_site, tmp_path, keys)
    launcher = tmp_path / "rocks"
    launcher.write_text(SWITCH.format(record=tmp_path / "switched"))
    launcher.chmod(0o755)
    log: list[str] = []
    with make_service(vm_site.database, "127.0.0.1", 0, log.append, str(launcher)) as server:
        found = Service(server, tmp_path, vm_site)
        found.log = log
        for module in ("airboss_service", "airboss_machines", "airboss_consoles", "airboss_media"):
            monkeypatch.setattr(
                f"rocks.actions.{module}.log_call",
                lambda call, outcome: found.calls.append((call, outcome)),
            )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield found
        server.shutdown()
        thread.join()


def refused(ask: Callable[[], object]) -> str:
    """Why an owner's request was refused."""
    with pytest.raises(client.AirbossError) as error:
        ask()
    return str(error.value)


def test_an_owner_lists_and_switches_its_machines(service: Service) -> None:
    done = service.program("list", "host", "macs")
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["MACS", "IN", "CLUSTER", "HOST", "NAMES"]
    assert sorted(row.split()[1] for row in rows) == ["one", "vm-one-0", "vm-one-1"]
    mac = next(row.split()[0] for row in rows if "vm-one-1" in row)

    done = service.program("set", "host", "power", "vm-one-0", mac.upper(), "action=on")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (service.folder / "switched").read_text() == "set host power vm-one-0 vm-one-1 action=on\n"
    assert service.log[-1] == "127.0.0.1 200 /airboss", "signatures are not in the log"
    call, outcome = service.calls[-1]
    assert (call.cluster, call.what, call.hosts) == ("one", "power on", ("vm-one-0", mac.upper()))
    assert outcome == "answered 200" and "done (exit status 0)" in service.outcomes

    done = service.program("list", "host", "macs", "status=yes")
    assert done.returncode == 0 and "nostate-error" in done.stdout


def test_an_owner_switches_the_cluster_by_one_request(service: Service) -> None:
    """Its computes, and only its own; each machine has an entry in the audit log."""
    done = service.program("set", "cluster", "power", "one", "action=on")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (service.folder / "switched").read_text() == "set host power vm-one-0 vm-one-1 action=on\n"
    assert (service.calls[-1][0].what, service.calls[-1][0].hosts) == ("cluster power on", ())
    done = service.program("set", "cluster", "power", "action=off", "with-frontend=yes")
    assert done.returncode == 0
    last = (service.folder / "switched").read_text().splitlines()[-1]
    assert sorted(last.split()[3:-1]) == ["one", "vm-one-0", "vm-one-1"] and last.endswith(" action=off")

    rows = service.site.done("list", "audit", "user=owner of one").splitlines()
    found = [row for row in rows if "cluster power" in row]
    assert sum("cluster power on vm-one-" in row for row in found) == 2
    assert sum("cluster power off" in row for row in found) == 1 + 3, "the request, and each machine"
    service.site.done("check", "audit")


def test_a_cluster_of_which_some_machines_fail(service: Service) -> None:
    """The audit log says which."""
    done = service.program("set", "cluster", "power", "action=install")
    assert done.returncode == 3 and "command failed: vm-one-0;" in done.stderr
    rows = json.loads(service.site.done("list", "audit", "user=owner of one", "json=yes"))
    status = {entry["command"].partition(" (")[0]: entry["exit"] for row in rows for entry in row["audit"]}
    assert status["cluster power install"] == 3
    assert status["cluster power install vm-one-0"] == 1 and status["cluster power install vm-one-1"] == 0


def test_the_cluster_of_another_owner_is_not_switched(service: Service) -> None:
    """Nor is a machine that is named besides, of another cluster; nothing runs."""
    assert "controls no cluster two" in refused(
        lambda: service.ask("cluster power", cluster="two", action="on")
    )
    assert "has no machine vm-two-0" in refused(
        lambda: service.ask("cluster power", hosts=["vm-two-0"], action="on")
    )
    assert "not one of on, off, install" in refused(lambda: service.ask("cluster power", action="boil"))
    assert not (service.folder / "switched").exists()
    assert "field request.hosts: none" in refused(lambda: service.ask("power", action="on"))


def test_an_operator_switches_a_cluster(service: Service) -> None:
    """The hosts of these machines are silent: each machine that was tried is named."""
    ended = service.site.rocks("set", "cluster", "power", "one", "action=on")
    assert (ended.status, ended.out) == (1, "")
    assert [line.split()[1] for line in ended.err.splitlines()] == ["vm-one-0:", "vm-one-1:"]
    error = service.site.refused("set", "cluster", "power", "vm-one-0", "action=on")
    assert "host vm-one-0 is not a virtual frontend" in error
    error = service.site.refused("set", "cluster", "power", "one", "action=on", "delay=soon")
    assert "must be a floating point number" in error
    assert "invalid action" in service.site.refused("set", "cluster", "power", "one", "action=boil")


def test_signed_requests_are_in_the_audit_log(service: Service) -> None:
    service.ask("power", hosts=["vm-one-0"], action="on")
    refused(lambda: service.ask("power", hosts=["vm-two-0"], action="on"))
    service.post(b"x")
    rows = service.site.done("list", "audit", "user=owner of one").splitlines()
    found = [row for row in rows if "power on" in row]
    assert len(found) == 2 and "power on vm-one-0" in found[0] and "127.0.0.1" in found[0]
    assert "user" in found[1] and "power on vm-two-0" in found[1]
    service.site.done("check", "audit")


def test_what_failed_is_reported_without_the_reason(service: Service) -> None:
    done = service.program("set", "host", "power", "vm-one-0", "vm-one-1", "action=install")
    assert done.returncode == 3
    assert "failed: vm-one-0;" in done.stderr and "secret" not in done.stderr + done.stdout
    assert any("secret of the site" in outcome for outcome in service.outcomes)
    rows = json.loads(service.site.done("list", "audit", "user=owner of one", "failed=yes", "json=yes"))
    assert [entry["exit"] for row in rows for entry in row["audit"]] == [3], "some machines failed"


def test_commands_of_a_frontend_send_the_same_requests(service: Service) -> None:
    site, key = service.site, f"key={service.folder}/one.key"
    assert 'the "airboss" attribute is not set' in site.refused("list", "host", "macs", "one", key)
    site.done("set", "host", "attr", "localhost", "airboss", f"127.0.0.1:{service.port}")
    missing = site.refused("list", "host", "macs", "one", key)
    assert "authority is not set: add the line authority = … in /etc/rocks/airboss.conf" in missing
    own = Path(service.folder / ".airboss")
    own.write_text(
        f"name = head\n# the site's\nauthority = {service.folder}/authority/ca.crt\ncluster = one\n"
    )
    listed = site.done("list", "host", "macs", "one", key)
    assert "MACS IN CLUSTER" in listed and "vm-one-1" in listed
    site.done("set", "host", "power", "vm-one-1", "action=off", key)
    assert (service.folder / "switched").read_text() == "set host power vm-one-1 action=off\n"
    ended = site.rocks("set", "host", "power", "vm-two-0", "action=off", key)
    assert ended.status == 1 and "command failed: the cluster has no machine" in ended.err
    assert "invalid action" in site.refused("set", "host", "power", "vm-one-1", "action=x", key)
    assert "can't access" in site.refused("list", "host", "macs", "one", "key=/nowhere/key")


def test_keys_are_made_once(service: Service) -> None:
    site, folder = service.site, service.folder
    public = site.done("create", "keys", f"key={folder}/rsa.key")
    assert public.startswith("-----BEGIN PUBLIC KEY-----\n") and public.count("\n") > 6
    assert (folder / "rsa.key").stat().st_mode & 0o777 == 0o400
    assert "already exists" in site.refused("create", "keys", f"key={folder}/rsa.key")
    assert "must supply a filename" in site.refused("create", "keys")
    assert "type must be" in site.refused("create", "keys", f"key={folder}/x", "type=dsa")
    assert not (folder / "x").exists()
    site.done("add", "host", "key", "one", f"key={public}")
    assert len(service.ask("list macs", key="rsa.key")["machines"]) == 3


def test_of_other_clusters_an_owner_learns_nothing(service: Service) -> None:
    """A foreign machine and a missing one, a foreign cluster and a missing one, are answered alike."""
    reasons = {
        refused(lambda name=name: service.ask("power", hosts=[name], action="off")).replace(name, "X")
        for name in ("vm-two-0", "two", "vmc-0-0", "head", "missing", "../one", "compute", "rack0", "%")
    }
    assert reasons == {"the cluster has no machine X; list host macs shows all"}
    reasons = {
        refused(lambda name=name: service.ask("list macs", cluster=name)).replace(name, "X")
        for name in ("two", "missing", "one/../two", "vmc-0-0", "vm-one-0")
    }
    assert reasons == {"this key controls no cluster X"}
    assert not (service.folder / "switched").exists()
    names = {name for one in service.ask("list macs", "two", "two.key")["machines"] for name in one["names"]}
    assert names == {"two", "vm-two-0", "vm-two-1"}


def test_a_machine_of_two_clusters_is_nobodys(service: Service) -> None:
    service.site.change(
        "UPDATE networks i JOIN nodes n ON n.ID = i.Node JOIN (SELECT i.VlanID FROM networks i JOIN nodes n"
        " ON n.ID = i.Node WHERE n.Name = 'one' AND i.VlanID > 0) o SET i.VlanID = o.VlanID"
        " WHERE n.Name = 'two' AND i.VlanID > 0"
    )
    assert "no machine two" in refused(lambda: service.ask("power", hosts=["two"], action="off"))


def test_two_clusters_with_the_same_key(service: Service) -> None:
    """The key's owner controls both; each request concerns the one that it names."""
    public = service.site.database.rows(
        "SELECT k.Public_Key FROM public_keys k JOIN nodes n ON n.ID = k.Node WHERE n.Name = 'one'"
    )[0][0]
    service.site.done("add", "host", "key", "two", f"key={public}")
    assert len(service.ask("list macs", "two")["machines"]) == 3
    assert "no machine vm-two-0" in refused(lambda: service.ask("power", hosts=["vm-two-0"], action="on"))
    document = service.document()
    assert service.post(service.signed(document))[0] == 200
    moved = service.signed(document).replace(b'"one"', b'"two"')
    assert "no valid signature" in service.post(moved)[1]


def test_a_request_is_accepted_once(service: Service) -> None:
    """Also after a new start of the service, of which only the database remembers anything."""
    body = service.signed(service.document(operation="power", hosts=["vm-one-0"], action="on"))
    assert service.post(body)[0] == 200
    for _ in range(2):
        status, text = service.post(body)
        assert status == 403 and "accepted before" in text
    again = airboss_service.OwnerService(
        service.site.database.settings, "head", "/bin/true", service.log.append
    )
    answer = again.answer(airboss_service.Request("127.0.0.1", "/airboss", [], 0, "POST", body))
    assert answer.status == 403 and b"accepted before" in answer.body
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
        for module in (airboss_service, airboss_audit):
            monkeypatch.setattr(module, "monotonic_seconds", lambda: real_steady() + self.steady)
        monkeypatch.setattr(airboss_service, "_FORGET_SECONDS", 0.0)


def test_a_clock_that_is_set_forward_and_back_lets_no_request_pass_twice(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks(monkeypatch)
    own = airboss_service.OwnerService(
        service.site.database.settings, "head", "/bin/true", service.log.append
    )
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
    own = airboss_service.OwnerService(
        service.site.database.settings, "head", "/bin/true", service.log.append
    )
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
    again = airboss_service.OwnerService(
        service.site.database.settings, "head", "/bin/true", service.log.append
    )
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
    own.record_refusals()
    (_, _, counted) = entries()
    assert counted.startswith("29 more refused, the last: list macs machine-29 (request ")
    listed = service.site.done("list", "audit", "user=owner of one", "failed=yes")
    assert "29 more refused" in listed
    service.site.done("check", "audit")
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


NO_DOCUMENTS = [
    b"\xff\xfe",
    b"[" * 20000,
    b'{"time": ' + b"9" * 20000 + b"}",
    b'{"service": "head", "service": "head"}',
    b'{"time": NaN}',
    b"null",
    b'{"cluster": "\\ud800"}',
]
SIGNED_BUT_REFUSED = [
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
]


def test_signed_but_refused(service: Service) -> None:
    for fields, reason in SIGNED_BUT_REFUSED:
        status, text = service.post(service.signed(service.document(**fields)))
        assert status in (400, 403, 409) and reason in json.loads(text)["error"], text
        assert service.outcomes[-1].startswith("refused: ")
    for data in NO_DOCUMENTS:
        status, text = service.post(service.signed(data))
        assert status == 400 and "not valid" in text


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
    assert service.raw(b"POST /airboss HTTP/1.1\r\n" + many + b"\r\n")[0] == 0
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
        settings = service.site.database.settings
        own = airboss_service.OwnerService(settings, "head", "/bin/true", service.log.append)
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


def test_a_key_counts_until_it_is_removed(service: Service, keys: dict[str, str]) -> None:
    public = next(iter(keys.values()))
    site = service.site
    (number,) = site.database.rows(
        "SELECT k.ID FROM public_keys k JOIN nodes n ON n.ID = k.Node WHERE n.Name = 'one'"
    )[0]
    site.done("remove", "host", "key", "one", f"id={number}")
    assert "no valid signature" in refused(lambda: service.ask("list macs"))
    public = (
        subprocess.run(
            ["openssl", "pkey", "-in", str(service.folder / "one.key"), "-pubout"],
            capture_output=True,
            check=True,
        )
    ).stdout.decode()
    site.done("add", "host", "key", "vm-one-0", f"key={public}")
    assert "no valid signature" in refused(lambda: service.ask("list macs")), "not a frontend of a cluster"


def test_short_rsa_keys_need_the_sites_consent(service: Service) -> None:
    """And signatures of PKCS#1 v1.5 are never accepted."""
    old = service.folder / "old.key"
    subprocess.run(["openssl", "genrsa", "-out", str(old), "1024"], check=True, capture_output=True)
    public = subprocess.run(
        ["openssl", "rsa", "-in", str(old), "-pubout"], check=True, capture_output=True
    ).stdout.decode()
    add = ("add", "host", "key", "one", f"key={public}")
    error = service.site.refused(*add)
    assert "1024 bits, at least 2048 are needed" in error and "rocks create keys" in error
    assert "rocks set host attr one airboss_old_rsa true" in error
    service.site.done("set", "host", "attr", "one", "airboss_old_rsa", "true")
    assert "Warning: this RSA key has 1024 bits" in service.site.rocks(*add).err
    service.site.done("set", "host", "attr", "one", "airboss_old_rsa", "false")
    assert "1024 bits" in refused(lambda: service.ask("list macs", key="old.key"))
    service.site.done("set", "host", "attr", "one", "airboss_old_rsa", "true")
    assert len(service.ask("list macs", key="old.key")["machines"]) == 3
    data = json.dumps(service.document()).encode()
    for digest in ("-sha1", "-sha256"):
        signature = subprocess.run(
            ["openssl", "dgst", digest, "-sign", str(old)],
            input=SIGNED_PREFIX + data,
            check=True,
            capture_output=True,
        ).stdout
        fingerprint = client.open_key(str(old)).fingerprint.encode()
        body = b" ".join((b"rocks-airboss-1", fingerprint, base64.b64encode(signature))) + b"\n" + data
        assert service.post(body)[0] == 403


def test_a_service_that_is_not_the_sites_gets_no_request(service: Service, tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=head", "-out", str(other)]
        + ["-keyout", "/dev/null"],
        check=True,
        capture_output=True,
    )
    settings = service.settings()._replace(authority=str(other))
    key = client.open_key(settings.key)
    assert "does not prove" in refused(lambda: client.ask(settings, key, "list macs"))
    settings = service.settings()._replace(name="vmc-0-0")
    assert "does not prove" in refused(lambda: client.ask(settings, key, "list macs"))
    assert service.calls == []


def test_a_name_that_means_other_hosts_too_is_not_switched(service: Service) -> None:
    service.site.change("UPDATE appliances SET Name = 'vm-one-0' WHERE Name = 'vm-container'")
    assert "other hosts" in refused(lambda: service.ask("power", hosts=["vm-one-0"], action="off"))
    assert not (service.folder / "switched").exists()


def test_without_a_database_an_owner_learns_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StateError("the schema of /secret/place is another")

    monkeypatch.setattr(Database, "rows", fail)
    status, text = service.post(b"rocks-airboss-1 " + b"0" * 64 + b" AAAA\n{}")
    assert status == 503 and "secret" not in text
    assert any("/secret/place" in line for line in service.log)


def test_the_program_says_what_is_missing() -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-I", PROGRAM, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env={"HOME": "/x"},
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    assert "create keys" in run()[1]
    for arguments, reason in (
        (("list", "host", "macs"), "server is not set"),
        (("list", "host", "macs", "x=1"), "no parameter x="),
        (("list", "host", "macs", "server=x:0", "cluster=c", "authority=/x", "key=/x"), "no valid port"),
        (("set", "host", "power", "action=on"), "0 hosts are given"),
        (("create", "keys"), "must supply a filename"),
        (("create", "keys", "key=/nowhere/key"), "cannot write"),
    ):
        status, text = run(*arguments)
        assert status == 1 and reason in text, arguments
