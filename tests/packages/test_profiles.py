"""Profiles of each appliance on fresh machines; the only source of packages is the site's signed distribution."""

import hashlib
import os
import shutil
import subprocess  # noqa: TID251 - the server is started in the network of the machine, and ended
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from lab.namespace import CHECKOUT
from rocks.core.process import Finished
from rocks.install.graph_files import Library
from rocks.install.host_profiles import write_profile
from rocks.install.profile_values import ServedDistribution
from rocks.install.rolls import signatures
from rocks.install.rolls.builds import build_distribution
from rocks.trust.authority import Authority
from rocks.trust.x509 import CertificateSpec
from tests.gnupg import gnupg_folder
from tests.golden.profile.cases import CASES, on_site, vm_host
from tests.packages.fresh_roots import CACHE, Root, make_bare_root, make_repository

_ADDRESS = "10.1.1.1"
_DEBIAN = (
    *("openssh-server", "kmod", "libvirt-clients", "zfsutils-linux", "systemd-sysv", "udev", "dbus"),
    *("ca-certificates", "libvirt-daemon-system", "qemu-system-x86", "qemu-utils", "rabbitmq-server"),
)
_ROOT_ARCHIVE = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "kmod",
    "openssh-server",
    "python3",
    "systemd-sysv",
    "udev",
)
"""What the root archive of hosts has besides Debian's smallest root, as far as a profile meets it."""

_EVIL = 'it\'s "$(touch /ran)" `touch /ran` ]]> <&amp;>\nROCKS-END-1\nROCKS-END-2\n  %end \\'


_NAS = CASES["nas"].host
_OF_NAS = {name: value for name, value in _NAS.attributes.items() if name != "img_zpool_disks"}
"""The machine of the test has no disks of its own."""
_HOSTS = {
    "vm-container": (vm_host(img_sync="yes", vm_container_zpool="vmpool"), "client"),
    "nas": (replace(_NAS, attributes=_OF_NAS), "nas"),
    "compute": (replace(vm_host(), appliance="compute", attributes={"appliance": "compute"}), "compute"),
    "login": (replace(vm_host(), appliance="login", attributes={"appliance": "login"}), "login"),
}


@pytest.fixture(scope="session")
def packages(built: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our packages, and those of Debian that profiles and the root archive name, with what they need."""
    return make_repository(tmp_path_factory.mktemp("packages") / "debs", built["deb"], _DEBIAN)


class _Site(NamedTuple):
    """What the frontend has: the folder with the signed distribution rocks-dist, its key, and the site's authority."""

    folder: Path
    key: str
    authority: Authority


@pytest.fixture(scope="session")
def site(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> _Site:
    """The distribution is built from one roll; the authority has a certificate of the frontend."""
    top = tmp_path_factory.mktemp("site")
    folder = top / "rolls/everything/1.0/x86_64/Debian"
    shutil.copytree(packages, folder, copy_function=os.link)
    (folder / "Packages.gz").unlink()
    with gnupg_folder() as keys, pytest.MonkeyPatch.context() as patch:
        keys.make("site")
        patch.setattr(signatures, "SIGNING_FOLDER", keys.folder)
        build_distribution(top / "rolls", [("everything", "1.0", "x86_64")], "rocks-dist", "x86_64", top)
        key = signatures.public_key(keys.folder)
    authority = Authority(tmp_path_factory.mktemp("pki"))
    authority.ensure("Site")
    authority.issue(CertificateSpec("head", ["head"], [_ADDRESS], 30))
    return _Site(top, key or "", authority)


@pytest.fixture
def machine(packages: Path, site: _Site, tmp_path: Path) -> Iterator[Callable[[], Root]]:
    """Makes a machine like one that was just installed; the frontend answers at its address, and nothing else does."""
    ends: list[Callable[[], object]] = []

    def make() -> Root:
        folder = make_bare_root(tmp_path / "machine")
        _prepare(folder, packages)
        root = Root(folder)
        ends.append(root.close)
        root.done("apt-get", "update", "-q")
        root.install(*_ROOT_ARCHIVE)
        (folder / "etc/apt/sources.list").unlink()
        root.done("sh", "-c", "ip link set lo up && ip address add 10.1.1.1/32 dev lo")
        server = _serve(root, site, tmp_path)
        ends.insert(0, lambda: (server.kill(), server.wait()))
        return root

    CACHE.mkdir(parents=True, exist_ok=True)
    yield make
    for end in ends:
        end()
    shutil.rmtree(tmp_path / "machine", ignore_errors=True)


def _prepare(folder: Path, packages: Path) -> None:
    """Packages of the root archive come from a folder; no service starts; the machine has this kernel, whose modules
    are not for it to load.
    """
    (folder / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/srv/packages ./\n", "ascii")
    shutil.copytree(packages, folder / "srv/packages", copy_function=os.link)
    for name, text in {"usr/sbin/policy-rc.d": "exit 101", "usr/local/sbin/modprobe": "exit 0"}.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n", "ascii")
        (folder / name).chmod(0o755)


_SERVER = """\
import functools, http.server, ssl, sys
folder, pair, address = sys.argv[1:]
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def translate_path(self, path):
        return super().translate_path(path.removeprefix("/install/distro"))
    def log_message(self, *arguments):
        pass
server = http.server.ThreadingHTTPServer((address, 443), functools.partial(Handler, directory=folder))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(pair)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", flush=True)
server.serve_forever()
"""


def _serve(root: Root, site: _Site, place: Path) -> subprocess.Popen[bytes]:
    """The distribution below /install/distro, in the network of the machine."""
    pair = place / "head.pem"
    pair.write_bytes(site.authority.bundle("head").pair)
    enter = ["setpriv", "--pdeathsig", "KILL", "nsenter", "--target", str(root.process_id), "--net", "--"]
    server = subprocess.Popen(
        [*enter, sys.executable, "-c", _SERVER, str(site.folder), str(pair), _ADDRESS], stdout=subprocess.PIPE
    )
    assert server.stdout.readline() == b"ready\n"
    return server


def profile(appliance: str, site: _Site, base: Path | None = None, **attributes: str) -> bytes:
    """The script for a host of the appliance on a site with a distribution."""
    host, top = _HOSTS[appliance]
    host = replace(host, attributes={**host.attributes, **attributes})
    served = ServedDistribution(_ADDRESS, "rocks-dist/x86_64", site.authority.certificate(), key=site.key)
    return write_profile(on_site(host, top, served), Library(base)).encode()


def run_profile(root: Root, script: bytes) -> Finished:
    return root.run("bash", standard_input=script)


def files(root: Root) -> dict[str, tuple[object, ...]]:
    """Path → kind, permissions, owner and content of everything that a profile could have written."""
    found: dict[str, tuple[object, ...]] = {}
    for path in root.paths():
        if path.startswith("/srv/packages"):
            continue
        place = root.folder / path.lstrip("/")
        status = place.lstat()
        content: object = None
        if place.is_symlink():
            content = str(place.readlink())
        elif place.is_file():
            content = hashlib.sha256(place.read_bytes()).hexdigest()
        owner = (status.st_uid, status.st_gid)
        found[path] = (status.st_mode, owner, content, status.st_mtime_ns if content else 0)
    return found


@pytest.mark.parametrize("appliance", _HOSTS)
def test_a_profile_completes_a_new_machine_and_changes_nothing_the_second_time(
    appliance: str, machine: Callable[[], Root], site: _Site, tmp_path: Path
) -> None:
    """An attribute with any text is a text there."""
    base = tmp_path / "graph"
    shutil.copytree(CHECKOUT / "nodes", base / "nodes")
    shutil.copytree(CHECKOUT / "graphs", base / "graphs")
    (base / "site-nodes").mkdir()
    (base / "site-nodes/extend-base.xml").write_text(
        '<kickstart><post><file name="/etc/evil">&evil;</file></post></kickstart>'
    )
    script = profile(appliance, site, base, evil=_EVIL)
    root = machine()
    first = run_profile(root, script)
    assert first.exit_status == 0, first.text + first.error_text
    assert (root.folder / "etc/evil").read_text() == _EVIL + "\n"
    assert not (root.folder / "ran").exists()
    assert "Traceback" not in first.error_text

    before = files(root)
    second = run_profile(root, script)
    assert second.exit_status == 0, second.text + second.error_text
    changed = [line for line in second.text.splitlines() if "changed: " in line]
    assert "profile ends: no changes" in second.text, changed
    assert files(root) == before
    _check_roles(root, appliance)


def _check_roles(root: Root, appliance: str) -> None:
    """The programs of a role are there, of our packages, and their units are enabled."""
    installed = set(root.done("dpkg-query", "-W", "-f", "${Package}\n").split())
    units = {
        "vm-container": (
            "rocks-links.service",
            "rocks-agent.socket",
            "rocks-imgstorage-host.service",
            "rocks-imgstorage-host.path",
        ),
        "nas": (
            "rocks-imgstorage-nas.service",
            "rocks-imgstorage-nas.path",
            "rocks-storage-firewall.service",
        ),
    }
    for unit in units.get(appliance, ()):
        assert root.run("systemctl", "is-enabled", unit).text.strip() == "enabled", unit
    ours = {"vm-container": {"rocks-agent", "rocks-imgstorage-host"}, "nas": {"rocks-imgstorage-nas"}}
    expected = ours.get(appliance, set())
    assert {name for name in installed if name.startswith("rocks-") and name != "rocks-common"} == expected


_BEGIN = "setsid bash /root/profile >/root/output 2>&1 & process=$!; "
_KILL_AFTER = f'{_BEGIN} sleep "$1"; kill -KILL -- "-$process" 2>/dev/null; wait; true'
_KILL_AT = (
    f'{_BEGIN} while kill -0 "$process" 2>/dev/null && [ "$(wc -l </root/output)" -lt "$1" ]; do sleep 0.02; done; '
    'kill -KILL -- "-$process" 2>/dev/null; wait; true'
)


def test_a_profile_that_was_killed_at_any_step_is_completed_by_its_repetition(
    machine: Callable[[], Root], site: _Site
) -> None:
    """Killed while packages are fetched, unpacked and configured, and after each of its messages."""
    root, script = machine(), profile("nas", site)
    (root.folder / "root/profile").write_bytes(script)
    for seconds in ("1", "3", "4", "6"):
        root.done("sh", "-c", _KILL_AFTER, "sh", seconds)
    for lines in range(1, 60, 4):
        root.done("sh", "-c", _KILL_AT, "sh", str(lines))
    done = run_profile(root, script)
    assert done.exit_status == 0, done.text + done.error_text
    before = files(root)
    again = run_profile(root, script)
    assert "profile ends: no changes" in again.text, again.text + again.error_text
    assert files(root) == before
    assert root.done("dpkg", "--audit") == ""
    _check_roles(root, "nas")
