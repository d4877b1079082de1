"""A host takes its packages from the frontend: a real apt, over the network private, with the site's authority."""

from __future__ import annotations

import os
import subprocess  # noqa: TID251 - the service, and a process that holds the host's network
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.graph_files import SITE_GRAPHS, SITE_NODES, own_folders
from rocks.process import Finished, run, run_checked
from rocks.rollkit.distribution import DistributionPlan, create_distribution
from tests.debs import make_empty_deb

from .conftest import Site

# fixtures
from .test_boot_service import ADDRESS, CHECKOUT, FAR, folders, network  # noqa: F401
from .test_installation_service import pki  # noqa: F401

HOST_ADDRESS = "10.1.0.2"


class Host:
    """A host in a network namespace of its own, whose interface has the MAC address of vmc-0-0."""

    def __init__(self, address: str) -> None:
        self._process = subprocess.Popen(["unshare", "--net", "sleep", "600"])
        deadline = time.monotonic() + 10
        own = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{self._process.pid}/ns/net").readlink() == own:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        run_checked(["ip", "link", "set", FAR, "netns", str(self._process.pid)], deadline_seconds=10)
        for arguments in (["address", "add", f"{address}/16", "dev", FAR], ["link", "set", FAR, "up"]):
            assert self.run("ip", *arguments).exit_status == 0

    def run(self, *arguments: str) -> Finished:
        """Run a program there."""
        return run(["nsenter", "-t", str(self._process.pid), "-n", *arguments], deadline_seconds=120)

    def close(self) -> None:
        """End it; the interface goes with it."""
        self._process.kill()
        self._process.wait()


@pytest.fixture
def distribution(vm_site: Site, tmp_path: Path) -> Path:
    """A distribution with one package, as rocks create distro builds it."""
    roll = tmp_path / "rolls/site/1/x86_64"
    make_empty_deb(roll / "Debian", "site-mark", "1:1+a~b")
    place = tmp_path / "export/install"
    place.mkdir(parents=True)
    plan = DistributionPlan("rocks-dist", "x86_64", [roll], own_folders(), SITE_NODES, SITE_GRAPHS)
    create_distribution(plan, place)
    vm_site.done("set", "attr", "Kickstart_DistroDir", str(tmp_path / "export"))
    return place


@pytest.fixture
def served(
    vm_site: Site,
    pki: Path,  # noqa: F811
    folders: tuple[Path, Path],  # noqa: F811
    network: None,  # noqa: F811
    distribution: Path,
    cluster_environment: dict[str, str],
    tmp_path: Path,
) -> Iterator[Site]:
    """The service at the frontend's address, as an operator starts it."""
    start = (
        "import sys; from rocks.actions import message_broker; from rocks.cli.main import main; "
        f"message_broker.AUTHORITY_FOLDER = {str(pki)!r}; sys.exit(main(['start', 'service', 'kickstart']))"
    )
    environment = {**os.environ, **cluster_environment, "PYTHONPATH": str(CHECKOUT / "src")}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", start], env=environment, stderr=log)
    deadline = time.monotonic() + 60
    while "listening" not in (tmp_path / "log").read_text():
        assert time.monotonic() < deadline and process.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.1)
    yield vm_site
    process.terminate()
    assert process.wait(30) == 0, (tmp_path / "log").read_text()


def _apt(tmp_path: Path, authority: Path) -> list[str]:
    """apt-get with folders of its own and the site's distribution as its only source."""
    for name in ("state/lists/partial", "cache/archives/partial", "etc"):
        (tmp_path / "apt" / name).mkdir(parents=True)
    sources = tmp_path / "apt/sources.list"
    sources.write_text(
        f"deb [trusted=yes] https://{ADDRESS}/install/distro/rocks-dist/x86_64/Debian rocks-dist main\n"
    )
    options = {
        "Dir::State": tmp_path / "apt/state",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": tmp_path / "apt/cache",
        "Dir::Etc": tmp_path / "apt/etc",
        "Dir::Etc::sourcelist": sources,
        "Acquire::https::CaInfo": authority,
        "Acquire::https::Proxy": "DIRECT",
        "Acquire::Retries": "0",
        "APT::Sandbox::User": "root",
    }
    return ["apt-get", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]


def test_a_host_installs_packages_of_the_distribution(
    served: Site,
    pki: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    host = Host(HOST_ADDRESS)
    try:
        apt = _apt(tmp_path, pki / "ca.crt")
        updated = host.run(*apt, "update", "--error-on=any")
        assert updated.exit_status == 0, updated.error_text
        fetched = host.run("env", "-C", str(tmp_path), *apt, "download", "site-mark")
        assert fetched.exit_status == 0, fetched.error_text
        (package,) = tmp_path.glob("site-mark_*.deb")
        assert (
            run_checked(["dpkg-deb", "-f", str(package), "Version"], deadline_seconds=20).text == "1:1+a~b\n"
        )
    finally:
        host.close()


def test_another_machine_gets_nothing(served: Site, pki: Path, tmp_path: Path) -> None:  # noqa: F811
    host = Host("10.1.0.77")
    try:
        refused = host.run(*_apt(tmp_path, pki / "ca.crt"), "update", "--error-on=any")
    finally:
        host.close()
    assert refused.exit_status != 0
    assert "no host has the address 10.1.0.77 on the network private" in refused.error_text


def test_what_is_no_package_is_not_given_by_a_quoted_path_either(
    served: Site,
    pki: Path,  # noqa: F811
    distribution: Path,
) -> None:
    """Node files are the site's own."""
    (distribution / "rocks-dist/x86_64/build/Debian").mkdir()
    (distribution / "rocks-dist/x86_64/build/Debian/node.xml").write_text("secret")
    host = Host(HOST_ADDRESS)
    url = f"https://{ADDRESS}/install/distro/rocks-dist"
    try:
        statuses = [
            host.run(
                "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", str(pki / "ca.crt"), one
            ).text
            for one in (
                f"{url}/x86_64/Debian/dists/rocks-dist/Release",
                f"{url}%2fx86_64/build/Debian/node.xml",
            )
        ]
    finally:
        host.close()
    assert statuses == ["200", "404"]
