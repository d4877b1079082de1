"""`rocks sync broker` on a real, empty RabbitMQ, and the effect of a removed certificate."""

import errno
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import broker
from lab.broker import BrokerPlace
from rocks.core.errors import BusyError, ToolError
from rocks.database.connection import Database
from rocks.site import certificates
from rocks.storage.broker import broker as broker_checks
from rocks.storage.broker import broker as message_broker
from rocks.storage.broker.broker import BrokerControl, BrokerSettings, read_broker_settings
from rocks.storage.bus import Bus, BusSettings, Message, UndeliveredError
from rocks.storage.wire import names
from rocks.trust.authority import Authority
from rocks.trust.x509 import CertificateSpec, has_address
from tests.patience import patience
from tests.servers import free_port
from tests.system.imgstorage.real_broker import place_of_broker
from tests.waiting import wait_until

_PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmqctl"

_EMPTY = """
[rabbit_vhost:delete(Name, <<"test">>) || Name <- rabbit_vhost:list_names(), Name =/= <<"/">>],
Users = [proplists:get_value(user, User) || User <- rabbit_auth_backend_internal:list_users()],
[rabbit_auth_backend_internal:delete_user(Name, <<"test">>) || Name <- Users, Name =/= <<"guest">>],
ssl:clear_pem_cache().
"""
"""For `rabbitmqctl eval`: one call, since each starts an Erlang of its own, half a second of a processor."""


@dataclass(frozen=True)
class EmptyBroker:
    """A running broker without users; `place` has its files, `folder` the nodes' certificates."""

    place: BrokerPlace
    folder: Path

    def bus(self, node: str, queue_name: str | None = None) -> Bus:
        """The node's bus, authenticated by its certificate."""
        pair = self.folder / f"{node}.pem"
        pair.write_bytes(message_broker.node_authority().bundle(node).pair)
        authority = str(self.place.pki_folder / "ca.crt")
        settings = BusSettings(node, self.place.address, self.place.port, "localhost", str(pair), authority)
        bus = Bus(settings, queue_name, lambda _: None)
        bus.return_seconds = 0
        return bus


@dataclass(frozen=True)
class StartedBroker:
    """The broker of the module: its files, the settings of its control, and an authority that a test may copy."""

    place: BrokerPlace
    settings: BrokerSettings
    authority: Path


@pytest.fixture(scope="module")
def started_broker() -> Iterator[StartedBroker]:
    """Its certificates are installed as those of a site's broker."""
    if not Path(_PROGRAM).exists():
        pytest.skip(f"{_PROGRAM} is not installed")
    folder = Path(tempfile.mkdtemp(prefix="rocks-broker-", dir="/tmp"))
    folder.chmod(0o755)
    place = place_of_broker(folder / "broker")
    place.folder.mkdir()
    broker.write_control(place, folder / "broker.conf")
    settings = read_broker_settings(str(folder / "broker.conf"))
    try:
        authority = Authority(folder / "authority")
        authority.ensure("Image storage of head")
        authority.issue(
            CertificateSpec(message_broker.BROKER_NAME, ["localhost"], [place.address], 100, is_service=True)
        )
        message_broker.install_broker_certificates(authority, BrokerControl(settings))
        broker.start(place, patience(90), ends_with_starter=True)
        yield StartedBroker(place, settings, folder / "authority")
    finally:
        processes = [broker.running_process(place)]
        assert broker.stop(place) and not broker.stop(place)
        assert all(not Path(f"/proc/{number}/exe").exists() for number in processes)
        shutil.rmtree(folder)


@pytest.fixture
def empty_broker(
    started_broker: StartedBroker, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> EmptyBroker:
    """The broker as after its first start, whatever another test has done to it."""
    place, settings = started_broker.place, started_broker.settings
    shutil.copytree(started_broker.authority, tmp_path / "authority")
    monkeypatch.setattr(message_broker, "AUTHORITY_FOLDER", str(tmp_path / "authority"))
    monkeypatch.setattr(message_broker, "read_broker_settings", lambda: settings)
    message_broker.install_broker_certificates(message_broker.node_authority(), BrokerControl(settings))
    broker.start(place, patience(90), ends_with_starter=True)
    broker.control(place, "eval", _EMPTY)
    database.execute(
        "INSERT INTO nodes (Name, Membership, CPUs, Rack, Rank) SELECT w.Name, m.ID, 1, 0, w.Rank FROM ("
        "SELECT 'head' AS Name, 'Frontend' AS Kind, 0 AS Rank UNION ALL SELECT 'vmc-0-0', 'VM Container', 0"
        " UNION ALL SELECT 'vmc-0-1', 'VM Container', 1) w JOIN memberships m ON m.Name = w.Kind"
    )
    database.execute(
        "INSERT INTO attributes (Attr, Value, Category, Catindex) SELECT 'Kickstart_PrivateHostname', 'head',"
        " c.ID, i.ID FROM categories c JOIN catindex i ON i.Category = c.ID WHERE c.Name = 'global'"
    )
    return EmptyBroker(place, tmp_path)


def written(place: BrokerPlace) -> dict[str, int]:
    """When each file of the broker's certificates was written, in nanoseconds."""
    return {path.name: path.stat().st_mtime_ns for path in place.pki_folder.rglob("*") if path.is_file()}


def check(place: BrokerPlace, database: Database, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `rocks check site` says of the broker, on a site with a NAS."""
    database.execute(
        "INSERT IGNORE INTO nodes (Name, Membership, CPUs, Rack, Rank) SELECT 'nas-0-0', m.ID, 1, 0, 0"
        " FROM memberships m WHERE m.Name = 'NAS Appliance'"
    )
    monkeypatch.setattr(broker_checks, "broker_address", lambda *_: place.address)
    found = broker_checks.check_broker(database, "head")
    return " | ".join(f"{line.result}: {line.detail}" for line in found)


def test_users_follow_certificates_and_roles(
    empty_broker: EmptyBroker, database: Database, closing: Callable[[object], None]
) -> None:
    certificates.add_certificates(database, ["head", "vmc-0-0"], 30, replace=False)
    synced = message_broker.sync_broker(database)
    assert synced.users == ("head", "vmc-0-0") and synced.removed == ()
    before = written(empty_broker.place)
    assert "broker.pem" in before and message_broker.sync_broker(database) == synced
    assert written(empty_broker.place) == before

    host = empty_broker.bus("vmc-0-0", names.host_queue("vmc-0-0"))
    head = empty_broker.bus("head")
    for bus in (host, head):
        closing(bus)
        bus.start()
        assert bus.wait_until_connected(120)
    head.publish(Message(names.host_queue("vmc-0-0"), b"1"))
    with pytest.raises(UndeliveredError):
        head.publish(Message(names.host_queue("vmc-0-1"), b"1"))

    failures: list[BusyError] = []
    removed = certificates.remove_certificates(database, ["vmc-0-0", "vmc-0-1"], failures.append)
    assert (list(removed), failures) == (["vmc-0-0"], [])
    wait_until(lambda: not host.wait_until_connected(0))
    assert head.wait_until_connected(0)
    assert message_broker.sync_broker(database).users == ("head",)


def test_a_broker_that_does_not_run(
    empty_broker: EmptyBroker, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate is revoked all the same, and each error states what to do."""
    certificates.add_certificates(database, ["head", "vmc-0-1"], 30, replace=False)
    assert message_broker.sync_broker(database).users == ("head", "vmc-0-1")
    broker.kill(empty_broker.place)
    failures: list[BusyError] = []
    assert list(certificates.remove_certificates(database, ["vmc-0-1"], failures.append)) == ["vmc-0-1"]
    assert ["start it, then run `rocks sync broker`" in str(error) for error in failures] == [True]
    with pytest.raises(
        ToolError, match="the message broker of this machine does not run. Its certificates are installed"
    ):
        message_broker.sync_broker(database)
    with pytest.raises(ToolError, match="the message broker of this machine does not run"):
        BrokerControl(message_broker.read_broker_settings()).remove_user("vmc-0-0")
    assert check(empty_broker.place, database, monkeypatch) == (
        "wrong: the message broker of this machine does not run: systemctl start rabbitmq-server.service; if it does "
        "not start, rocks report host profile head | bash; after an upgrade from Debian 12, see "
        f"{message_broker.BROKER_GUIDE.replace('guide/broker', 'packaging')}"
    )
    broker.start(empty_broker.place, patience(90), ends_with_starter=True)
    synced = message_broker.sync_broker(database)
    assert (synced.users, synced.removed) == (("head",), ("vmc-0-1",))


def test_a_certificate_for_another_address_than_that_of_the_services_is_replaced(
    empty_broker: EmptyBroker, database: Database
) -> None:
    """The fixture's is for the loopback address alone; the frontend has an address on the network private now."""
    database.execute(
        "INSERT INTO subnets (name, dnszone, subnet, netmask) VALUES ('private', 'local', '10.1.0.0', '255.255.0.0')"
    )
    database.execute(
        "INSERT INTO networks (Node, IP, Subnet) SELECT n.ID, '10.1.1.1', s.ID FROM nodes n JOIN subnets s"
        " ON s.name = 'private' WHERE n.Name = 'head'"
    )
    certificates.add_certificates(database, ["head"], 30, replace=False)
    pair = empty_broker.place.pki_folder / "broker.pem"
    assert not has_address(pair.read_bytes(), "10.1.1.1")
    message_broker.sync_broker(database)
    assert has_address(pair.read_bytes(), "10.1.1.1")
    before = written(empty_broker.place)
    message_broker.sync_broker(database)
    assert written(empty_broker.place) == before


def test_only_root_and_the_broker_read_its_certificates(empty_broker: EmptyBroker) -> None:
    for path in empty_broker.place.pki_folder.rglob("*"):
        assert path.stat().st_mode & 0o007 == 0, path
    assert (empty_broker.place.pki_folder / "broker.pem").stat().st_gid == broker.USER_ID


def test_removing_a_user_twice(empty_broker: EmptyBroker, database: Database) -> None:
    """The second time reports that there is no such user; any other failure raises an error."""
    certificates.add_certificates(database, ["vmc-0-0"], 30, replace=False)
    message_broker.sync_broker(database)
    control = BrokerControl(message_broker.read_broker_settings())
    assert control.remove_user("vmc-0-0")
    assert not control.remove_user("vmc-0-0")


def test_to_ask_a_broker_that_was_never_started_starts_no_daemon() -> None:
    """Erlang's port mapper stayed, and listened on every address of the frontend."""
    port = free_port()
    control = BrokerControl(
        BrokerSettings(program=f"/usr/bin/env ERL_EPMD_PORT={port} /usr/sbin/rabbitmqctl")
    )
    with pytest.raises(ToolError, match="the message broker of this machine does not run"):
        control.listeners()
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def test_check_site_judges_the_broker(
    empty_broker: EmptyBroker, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fault has its command: users, rights, and TLS with a certificate of the site."""
    place = empty_broker.place
    certificates.add_certificates(database, ["head", "vmc-0-0"], 30, replace=False)
    assert "it has no virtual host img-storage: rocks sync broker" in check(place, database, monkeypatch)
    message_broker.sync_broker(database)
    assert check(place, database, monkeypatch) == "ok: runs, and has 2 users"

    # in one call, as above
    broker.control(
        place,
        "eval",
        """
        rabbit_auth_backend_internal:set_permissions(
            <<"head">>, <<"img-storage">>, <<".*">>, <<".*">>, <<".*">>, <<"test">>),
        rabbit_auth_backend_internal:add_user(<<"lost">>, <<"secret">>, <<"test">>),
        rabbit_auth_backend_internal:set_tags(<<"lost">>, ['img-storage'], <<"test">>),
        rabbit_auth_backend_internal:delete_user(<<"vmc-0-0">>, <<"test">>).
        """,
    )
    assert check(place, database, monkeypatch) == (
        "wrong: no user for vmc-0-0: rocks sync broker"
        " | wrong: users of nodes without a certificate or role: lost: rocks sync broker"
        " | wrong: head has other permissions than it needs: rocks sync broker"
    )
    message_broker.sync_broker(database)

    control = BrokerControl(message_broker.read_broker_settings())
    other = Authority(empty_broker.folder / "other")
    other.ensure("Image storage of head")
    other.issue(
        CertificateSpec(message_broker.BROKER_NAME, ["localhost"], ["127.0.0.1"], 100, is_service=True)
    )
    message_broker.install_broker_certificates(other, control)
    control.clear_certificate_cache()
    only_tls = check(place, database, monkeypatch)  # `rocks sync broker` has corrected users and rights
    assert only_tls.startswith("wrong: no TLS with a certificate of the site at 127.0.0.1:")
    assert only_tls.count("wrong: ") == 1
