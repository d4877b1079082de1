"""The services of a frontend for hosts, the network private as a wire, and hosts behind a real sshd."""

import errno
import http.client
import os
import random
import shutil
import ssl
import subprocess  # noqa: TID251 - services are started and ended as processes
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from lab import sshd
from lab.namespace import Machine, Network
from rocks.core.process import run, run_checked
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.fleet.first_contact import ensure_own_key
from rocks.fleet.https.server import HttpsServer
from rocks.fleet.known_hosts import parse_host_key, record_host_keys
from rocks.install.installation.service import create_service
from tests.servers import answering, free_port
from tests.system.commands.conftest import Site

CHECKOUT = Path(__file__).parents[4]
MAC = "02:aa:00:00:00:01"
STATED = {"X-RHN-Provisioning-MAC-0": f"eth0 {MAC}"}
HOST_ADDRESS, STRANGER = "127.0.0.2", "127.0.0.9"
ADDRESS = "10.1.0.1"
DEVICE, FAR = "boot0", "boot1"
SILENT = "127.0.0.99"
"""A loopback address at which nothing listens."""
ANY_KEY = parse_host_key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl")
"""A host's public key without its private key."""
Sshd = tuple[sshd.SshServer, Path]
"""A server, and the folder of the key that it accepts."""
FAR_MAC = "52:54:00:00:00:03"


class Response:
    """An answer as a client gets it."""

    def __init__(self, found: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = found.status, found.headers, found.read()
        self.text = self.body.decode(errors="replace")
        self.reason = found.reason


class Service:
    """A service that runs, and its log."""

    def __init__(self, server: HttpsServer, authority: str) -> None:
        self.server, self.log, self.configured = server, list[str](), list[str]()
        self.port = int(server.server_address[1])
        self._context = ssl.create_default_context(cadata=authority)
        self._context.check_hostname = False

    def get(
        self,
        path: str,
        address: str = HOST_ADDRESS,
        headers: dict[str, str] | None = None,
        method: str = "GET",
        body: str | None = None,
        as_root: bool = False,
    ) -> Response:
        """One request from an address; the server's certificate must be of the site's authority.

        `as_root`: from a port that only root can have.
        """
        while True:
            source = (address, random.randint(512, 1023) if as_root else 0)
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=120, source_address=source, context=self._context
            )
            try:
                connection.connect()
                connection.request(method, path, body, STATED if headers is None else headers)
                return Response(connection.getresponse())
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                    raise
            finally:
                connection.close()


@pytest.fixture
def three(site: Site) -> Site:
    """A frontend and two computes."""
    site.done("add host head membership=frontend cpus=4 rack=0 rank=0")
    site.done("add host compute-0-0")
    site.done("add host compute-0-1 cpus=2")
    return site


@pytest.fixture
def pair(site: Site) -> Site:
    """A frontend `fe` and a compute."""
    site.done("add host fe membership=Frontend rack=0 rank=0")
    site.done("add host compute-0-0")
    return site


@pytest.fixture
def pki(vm_site: Site, authority: Path) -> Path:
    """The authority's folder, and a certificate of the frontend."""
    vm_site.done("set attr Kickstart_PrivateHostname head")
    vm_site.done("add host certificate head")
    return authority


def start_service(
    name: str, pki: Path, environment: dict[str, str], errors: IO[bytes] | int, *arguments: str
) -> subprocess.Popen[bytes]:
    """`rocks start service NAME` as a process, with the authority of this test."""
    # a build that a shell started in its background ignores SIGQUIT, and so would the service
    program = (
        "import signal, sys; signal.signal(signal.SIGQUIT, signal.SIG_DFL); "
        "from rocks.storage.broker import broker as message_broker; from rocks.cli.main import main; "
        f"message_broker.AUTHORITY_FOLDER = {str(pki)!r}; sys.exit(main(sys.argv[1:]))"
    )
    environment = {**os.environ, **environment, "PYTHONPATH": str(CHECKOUT / "src")}
    command = [sys.executable, "-c", program, "start", "service", name, *arguments]
    return subprocess.Popen(command, env=environment, stderr=errors)


@pytest.fixture
def hosts(vm_site: Site, pki: Path) -> Site:
    """vmc-0-0 has an address of this machine, and is to be installed with RPM packages."""
    vm_site.change(
        "UPDATE networks i JOIN nodes n ON n.ID = i.Node JOIN subnets s ON s.ID = i.Subnet SET i.IP = %s, i.MAC = %s"
        " WHERE n.Name = 'vmc-0-0' AND s.name = 'private'",
        (HOST_ADDRESS, MAC),
    )
    vm_site.done("set host attr vmc-0-0 packaging rpm")
    vm_site.done("set host boot vmc-0-0 action=install")
    return vm_site


@pytest.fixture
def service(hosts: Site, pki: Path) -> Iterator[Service]:
    """The service, on a port of its own."""
    log: list[str] = []
    configured: list[str] = []
    with answering(
        create_service(hosts.database, "127.0.0.1", 0, log.append, configured=configured.append)
    ) as server:
        found = Service(server, (pki / "ca.crt").read_text())
        found.log, found.configured = log, configured
        yield found


@pytest.fixture
def folders(entered_by_others: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Folders for TFTP and for the running service, which dnsmasq's user can enter."""
    found = (entered_by_others / "tftp", entered_by_others / "run")
    monkeypatch.setenv("ROCKS_BOOT_FOLDER", str(found[0]))
    monkeypatch.setenv("ROCKS_BOOT_RUN_FOLDER", str(found[1]))
    return found


@pytest.fixture
def network() -> Iterator[None]:
    """The network private: a device with the frontend's address, and the other end of the wire."""
    run_checked(
        ["ip", "link", "add", DEVICE, "type", "veth", "peer", "name", FAR, "address", FAR_MAC],
        deadline_seconds=10,
    )
    run_checked(["ip", "address", "add", f"{ADDRESS}/16", "dev", DEVICE], deadline_seconds=10)
    for device in (DEVICE, FAR):
        run_checked(["ip", "link", "set", device, "up"], deadline_seconds=10)
    yield
    run(["ip", "link", "del", DEVICE], deadline_seconds=10)  # it may have gone with its other end


@pytest.fixture
def served(vm_site: Site, pki: Path, folders: tuple[Path, Path], network: None) -> Site:
    """A site with the boot service's files; the distribution has an installer."""
    installer = folders[0].parent / "export/install/rocks-dist/x86_64/installer"
    installer.mkdir(parents=True)
    (installer / "vmlinuz").write_text("kernel")
    (installer / "installer.img").write_text("image")
    (installer / "root.tar.zst").write_text("root")
    (installer / "root.sha256").write_text(f"{'0' * 64}  root.tar.zst\n")
    vm_site.done("set attr Kickstart_DistroDir", str(folders[0].parent / "export"))
    folders[0].mkdir()
    vm_site.done("sync config")
    return vm_site


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    """A real sshd on loopback, and the folder of the key that it accepts."""
    if os.geteuid() != 0:
        pytest.skip("sshd is started by root")
    for program in ("sshd", "ssh", "unshare", "nsenter"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    folder = Path(tempfile.mkdtemp(prefix="rocks-", dir="/tmp"))
    machine = Machine(folder, Network.SHARED)  # the tests reach its sshd
    try:
        machine.start()
        line, _ = ensure_own_key(FleetSettings(key_file=str(folder / "keys" / "id_ed25519")))
        yield sshd.start(machine, line + "\n", port=free_port()), folder / "keys"
    finally:
        sshd.stop(machine)
        machine.stop()
        shutil.rmtree(folder)


@pytest.fixture
def settings(server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FleetSettings:
    """Settings of connections to hosts: the accepted key, and no known host."""
    chosen = FleetSettings(
        key_file=str(server[1] / "id_ed25519"), known_hosts_file=str(tmp_path / "known_hosts")
    )
    monkeypatch.setattr("rocks.inventory.host_requests.FleetSettings", lambda: chosen)
    monkeypatch.setattr("rocks.site.shared_keys.FleetSettings", lambda: chosen)
    return chosen


@pytest.fixture
def reached(site: Site, settings: FleetSettings, server: Sshd) -> Site:
    """head is this machine, compute-0-0 is reached by SSH, compute-0-1 is not there."""
    site.done("add host head membership=frontend rack=0 rank=0")
    site.done("add host compute-0-0")
    site.done("add host compute-0-1")
    site.done("set attr Kickstart_PrivateHostname head")
    site.done("set host attr compute-0-0 ssh_port", str(server[0].port))
    for host, address in (("compute-0-0", server[0].address), ("compute-0-1", SILENT)):
        site.change(
            "INSERT INTO networks (Node, IP) SELECT ID, %s FROM nodes WHERE Name = %s", (address, host)
        )
    return site


@pytest.fixture
def known(reached: Site, settings: FleetSettings, server: Sshd) -> Site:
    """As `reached`, and the hosts' keys are recorded, as they are for every host that ever was there."""
    reached.done("sync host sharedkey compute-0-0", confirmed(server))
    for name, address in (("compute-0-1", SILENT), ("no-such-machine", "no-such-machine")):
        record_host_keys(settings.known_hosts_file, HostAddress(name, address), (ANY_KEY,))
    return reached


def confirmed(server: Sshd) -> str:
    """The parameter with the fingerprint that the operator has read on the host's console."""
    return f"fingerprint={parse_host_key(server[0].host_key).fingerprint}"
