"""A site with the roll pragma, and cluster images on a web server or in a folder; no host answers."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rocks.commands._framework.tree import PACKAGE
from rocks.leases import lease as vm_locks
from rocks.machine.host import change
from rocks.machine.host.libvirt import accelerator
from tests.command_trees import forgotten_commands
from tests.range_server import RangeServer, Served
from tests.system.commands.conftest import Site, rocks, silent_hosts, site, vm_site
from tests.system.machines.site import NEW, OLD, MachineSite
from tests.unit.pragma.samples import document, domain, file_disk

if TYPE_CHECKING:
    from tests.system.pragma.cloud_server import CloudServer

__all__ = ["rocks", "silent_hosts", "site", "vm_site"]

TREE = Path(__file__).resolve().parents[3] / "roll" / "pragma" / "commands"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEpmvZ7QZ9bJc1bS7yXg0mB1hQdCkV2y3d5mYJ0Xh8aB ann & bob"
FRONTEND, COMPUTE = b"frontend".ljust(2_048_000, b"\0"), b"compute".ljust(1_024_000, b"\0")
PACKED = gzip.compress(COMPUTE, mtime=0)
_PARTS = "".join(f"<part>compute.gz.{number}</part>" for number in (1, 2))
DOCK6 = document(
    domain(file_disk("frontend.img"), 2),
    f"<file type='splited_gzip'>{_PARTS}</file>" + domain(file_disk("compute.img"), memory="1048576"),
)
ALONE = document(domain(file_disk("only.img"), 2))
FILES = {
    "vcdb.txt": b"# ours\n\ndock6,dock6/vc-in.xml\nalone, alone/vc-in.xml\n",
    "dock6/vc-in.xml": DOCK6.encode(),
    "dock6/frontend.img": FRONTEND,
    "dock6/compute.gz.1": PACKED[:600],
    "dock6/compute.gz.2": PACKED[600:],
    "alone/vc-in.xml": ALONE.encode(),
    "alone/only.img": b"alone".ljust(1_024_000, b"\0"),
}

PROGRAMS = {
    "fix_images": 'echo "$@" >"$2/fixed"; ls "$2" >>"$2/fixed"',
    "allocate": """[ "$1" != 7 ] || { echo "7 is too many" >&2; exit 4; }
[ "$1" != 6 ] || exit 0
echo "<vc><frontend><public fqdn='dock.example.org' ip='192.0.2.7'/></frontend>
<compute count='1'><node name='n0'/></compute></vc>" >"$3" """,
    "boot": 'echo "$@" >>"$3/booted"; [ "$2" != n0 ] || exit 3',
    "status": "echo dock nostate",
    "clean": ":",
}


@pytest.fixture
def pragma_site(vm_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The site with the roll's tree; its folders are below `tmp_path`."""
    monkeypatch.setenv("ROCKS_TREES", str(TREE))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with forgotten_commands(f"{PACKAGE}.pragma"):
        vm_site.done("set attr image_library", str(tmp_path / "library"))
        vm_site.done("set attr pragma_repository", str(tmp_path / "repository"))
        vm_site.done("set attr pragma_log_folder", str(tmp_path / "logs"))
        vm_site.done("set attr pragma_public_addresses", "203.0.113.20=dock.example.org 203.0.113.21=lake")
        vm_site.done("set attr vm_authorized_keys", KEY)
        yield vm_site


@pytest.fixture
def local(pragma_site: Site, tmp_path: Path) -> Site:
    """The site with a repository of its own."""
    for name, content in FILES.items():
        (tmp_path / "repository" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "repository" / name).write_bytes(content)
    return pragma_site


@pytest.fixture
def server(pragma_site: Site) -> Iterator[RangeServer]:
    """A web server with the repository below /vc, which is that of the site."""
    with RangeServer() as found:
        found.files = {f"/vc/{name}": Served(content, etag=f'"{name}"') for name, content in FILES.items()}
        pragma_site.done("set attr pragma_repository_url", f"{found.url}/vc/")
        yield found


@pytest.fixture
def machines(local: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MachineSite:
    """The site with hosts in memory that answer; the repository's images are in its library."""
    monkeypatch.setattr(vm_locks, "LOCK_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(change, "RELEASE_SECONDS", 0.0)
    monkeypatch.setattr(accelerator, "_DEVICE", tmp_path / "absent")
    made = MachineSite(local, tmp_path / "hosts")
    made.install(monkeypatch.setattr)
    for host in made.hosts.values():
        host.links.add("peth0", "ethernet")
        host.domains.guests_obey = True
    made.run(f"set host cpus {OLD} {NEW} 2")  # as these hosts state
    made.run("pragma sync repository")
    return made


@pytest.fixture
def cloud(local: Site, tmp_path: Path) -> "Iterator[CloudServer]":
    """A cloud with the images of `dock6`, which is the site's driver."""
    from tests.system.pragma.cloud_server import CloudServer  # moto's import takes seconds

    (tmp_path / "secret").write_text("s3cret")
    (tmp_path / "secret").chmod(0o600)
    with CloudServer("frontend", "compute") as server:
        for attribute, value in (
            ("driver", "ec2"),
            ("cloud_url", server.url),
            ("cloud_user", "AKIA"),
            ("cloud_sizes", "t3.small t3.xlarge"),
        ):
            local.done("set attr", f"pragma_{attribute}", value)
        local.done(f"set sec_attr pragma_cloud_secret file={tmp_path / 'secret'}")
        yield server


@pytest.fixture
def programs(local: Site, tmp_path: Path) -> Path:
    """The folder of a driver whose programs write down what they are given; a compute does not start."""
    folder = tmp_path / "driver"
    folder.mkdir()
    for name, text in PROGRAMS.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    (tmp_path / "key.pub").write_text(KEY)
    local.done(f"set attr pragma_driver {folder}")
    return folder
