"""A real broker, and a site whose daemons and commands use it."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import broker
from rocks.machine import converge
from rocks.machine import start as vm_start
from rocks.storage import configuration
from rocks.storage.broker.definitions import BrokerNode, definitions
from rocks.storage.bus import Bus
from rocks.storage.bus.service import Handler
from rocks.trust.authority import Authority
from rocks.trust.x509 import CertificateSpec
from tests.patience import patience
from tests.system.commands.conftest import Ended, Site, rocks, silent_hosts, site, vm_site
from tests.system.imgstorage.image_site import NAS, ImageSite, running_site
from tests.system.imgstorage.real_broker import NODES, RealBroker, Started, place_of_broker
from tests.system.imgstorage.storage_site import HOST, PlayedHosts, Storage

__all__ = ["rocks", "silent_hosts", "site", "vm_site"]


@pytest.fixture(scope="session")
def real_broker() -> Iterator[RealBroker]:
    """A running RabbitMQ. Skips where it cannot run; ends with the run, even when that is killed."""
    if os.geteuid() != 0:
        pytest.skip("the tests on a real RabbitMQ start it under a user id of its own, which needs root")
    for program in ("/usr/lib/rabbitmq/bin/rabbitmq-server", "/usr/bin/setpriv"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    folder = Path(tempfile.mkdtemp(prefix="rocks-broker-", dir="/tmp"))
    folder.chmod(0o755)  # the broker is another user and must reach its folders
    made = RealBroker(place_of_broker(folder / "broker"), Authority(folder / "pki"), folder)
    made.place.folder.mkdir()
    try:
        made.authority.ensure("the tests' authority")
        for node in NODES:
            made.authority.issue(CertificateSpec(node, [node], [], 30))
        made.authority.issue(
            CertificateSpec("broker", ["localhost"], [made.place.address], 30, is_service=True)
        )
        made.give_certificates()
        broker.start(made.place, patience(90), ends_with_starter=True)
        document = folder / "definitions.json"
        document.write_text(definitions(BrokerNode(node, frozenset([role])) for node, role in NODES.items()))
        broker.control(made.place, "import_definitions", str(document))
        yield made
    finally:
        broker.stop(made.place)
        shutil.rmtree(folder)


@pytest.fixture
def closing() -> Iterator[Callable[[object], None]]:
    """`closing(x)`: have `x.close()` called after the test."""
    things: list[object] = []
    yield things.append
    for thing in reversed(things):
        thing.close()  # type: ignore[attr-defined]


@pytest.fixture
def started(real_broker: RealBroker, closing: Callable[[object], None]) -> Started:
    """`started(node, queue, handler, **settings)`: a bus that is connected; a queue that is missing stays so."""

    def start(
        node: str,
        name: str | None = None,
        handler: Handler | None = None,
        return_seconds: float = 0,
        **settings: object,
    ) -> Bus:
        bus = Bus(real_broker.settings(node, **settings), name, handler)
        bus.return_seconds = return_seconds
        closing(bus)
        bus.start()
        assert bus.wait_until_connected(120)
        return bus

    return start


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory, real_broker: RealBroker) -> Iterator[ImageSite]:
    """All daemons of the module's tests, which use volumes of different names."""
    with running_site(tmp_path_factory.mktemp("images"), real_broker) as made:
        yield made


@pytest.fixture
def certified(
    rocks: Callable[..., Ended], real_broker: RealBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The folder with the frontend's certificate; commands find it, and the tests' broker."""
    settings = real_broker.settings("head")
    folder = tmp_path / "pki"
    folder.mkdir()
    (folder / "node.pem").write_bytes(Path(settings.pair_file).read_bytes())
    (folder / "ca.crt").write_bytes(Path(settings.authority_file).read_bytes())
    (folder / "node.pem").chmod(0o600)
    monkeypatch.setenv("ROCKS_PKI_FOLDER", str(folder))
    monkeypatch.setenv("ROCKS_BROKER_ADDRESS", settings.address)
    monkeypatch.setenv("ROCKS_BROKER_PORT", str(settings.port))
    monkeypatch.setenv("ROCKS_BROKER_NAME", "localhost")
    return folder


@pytest.fixture
def storage(vm_site: Site, certified: Path, daemons: ImageSite, hosts: PlayedHosts) -> Storage:
    """The site of `vm_site` with nas-0-0, whose pool is tank."""
    vm_site.done("add", "host", NAS, "membership=NAS Appliance", "rack=0", "rank=0")
    return Storage(vm_site, daemons)


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> PlayedHosts:
    """Those that starts ask; other commands find silent hosts."""
    played = PlayedHosts()
    monkeypatch.setattr(vm_start, "contact_hosts", played.contact_hosts)
    monkeypatch.setattr(converge, "perform_operations", played.perform_operations)
    return played


@pytest.fixture
def library(storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a library, whose images the NAS of these tests can be sent."""
    monkeypatch.setattr(configuration, "STREAM_PORT", storage.images.nas.stream_port)
    monkeypatch.setattr(configuration, "storage_address", lambda name, network: "127.0.0.1")
    storage.done("set", "attr", "image_library", str(tmp_path / "library"))
    storage.done("set", "host", "attr", HOST, "vm_image_directory", "/images")
    return tmp_path / "library"
