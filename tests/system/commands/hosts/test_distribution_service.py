"""A host takes its packages from the frontend: a real apt, over the network private, with the site's authority."""

import gzip
import shutil
import subprocess  # noqa: TID251 - the service, and a process that holds the host's network
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.core.process import Finished, run, run_checked
from rocks.install.graph_files import SITE_GRAPHS, SITE_NODES, own_folders
from rocks.install.rolls import signatures
from rocks.install.rolls.distribution import DistributionPlan, create_distribution
from tests.debs import make_deb
from tests.gnupg import Keys, gnupg_folder
from tests.profiles import written_files
from tests.system.commands.conftest import Site
from tests.system.commands.hosts.conftest import ADDRESS, FAR, start_service
from tests.waiting import wait_until

HOST_ADDRESS = "10.1.0.2"
_KEY = "/etc/rocks/distribution-key.asc"


class Host:
    """A host in a network namespace of its own, whose interface has the MAC address of vmc-0-0."""

    def __init__(self, address: str) -> None:
        self._process = subprocess.Popen(["unshare", "--net", "sleep", "600"])
        own, far = Path("/proc/self/ns/net").readlink(), Path(f"/proc/{self._process.pid}/ns/net")
        wait_until(lambda: far.readlink() != own)
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
    make_deb(tmp_path / "roll/Debian", "site-mark", "1:1+a~b")
    place = tmp_path / "export/install"
    place.mkdir(parents=True)
    _build(tmp_path / "roll", place)
    vm_site.done("set attr Kickstart_DistroDir", str(tmp_path / "export"))
    return place


def _build(roll: Path, place: Path) -> Path:
    """The folder of the distribution."""
    plan = DistributionPlan("rocks-dist", "x86_64", [roll], own_folders(), SITE_NODES, SITE_GRAPHS)
    return create_distribution(plan, place).folder


@pytest.fixture
def served(
    vm_site: Site,
    pki: Path,
    folders: tuple[Path, Path],
    network: None,
    distribution: Path,
    cluster_environment: dict[str, str],
    tmp_path: Path,
) -> Iterator[Site]:
    """The service at the frontend's address, as an operator starts it."""
    with (tmp_path / "log").open("wb") as log:
        process = start_service("kickstart", pki, cluster_environment, log)
    wait_until(lambda: "listening" in (tmp_path / "log").read_text(), (tmp_path / "log").read_text)
    yield vm_site
    process.terminate()
    assert process.wait(120) == 0, (tmp_path / "log").read_text()


def _apt(folder: Path, authority: Path, profile: str) -> list[str]:
    """apt-get with folders of its own and the source of a profile as its only one."""
    for name in ("state/lists/partial", "cache/archives/partial", "etc/sources.list.d"):
        (folder / name).mkdir(parents=True)
    written = written_files(profile)
    key = folder / "key.asc"
    key.write_text(written.get(_KEY, ""))
    (folder / "etc/sources.list.d/rocks.sources").write_text(
        written["/etc/apt/sources.list.d/rocks.sources"].replace(_KEY, str(key))
    )
    options = {
        "Dir::State": folder / "state",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": folder / "cache",
        "Dir::Etc": folder / "etc",
        "Acquire::https::CaInfo": authority,
        "Acquire::https::Proxy": "DIRECT",
        "Acquire::Retries": "0",
        "APT::Sandbox::User": "root",
    }
    return ["apt-get", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]


@pytest.mark.slow
def test_a_host_installs_packages_of_the_distribution(served: Site, pki: Path, tmp_path: Path) -> None:
    host = Host(HOST_ADDRESS)
    try:
        apt = _apt(tmp_path / "apt", pki / "ca.crt", served.done("report host profile vmc-0-0"))
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


@pytest.mark.slow
def test_another_machine_gets_nothing(served: Site, pki: Path, tmp_path: Path) -> None:
    profile = served.done("report host profile vmc-0-0")
    host = Host("10.1.0.77")
    try:
        refused = host.run(*_apt(tmp_path / "apt", pki / "ca.crt", profile), "update", "--error-on=any")
    finally:
        host.close()
    assert refused.exit_status != 0
    assert "no host has the address 10.1.0.77 on the network private" in refused.error_text


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keys]:
    """The site's key, which signs its distributions."""
    with gnupg_folder() as found:
        found.make("site")
        monkeypatch.setattr(signatures, "SIGNING_FOLDER", found.folder)
        yield found


def _append(path: Path, text: str) -> None:
    """In a new file, for packages are links to those of the rolls."""
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data + text.encode())


def _alter_packages(folder: Path) -> None:
    """A list of packages that was altered in all its forms."""
    (index,) = folder.rglob("Packages")
    _append(index, "\nPackage: added\nVersion: 1\nArchitecture: all\nFilename: pool/added.deb\nSize: 1\n")
    index.with_name("Packages.gz").write_bytes(gzip.compress(index.read_bytes()))


def _alter_release(folder: Path) -> None:
    """The list's checksums, too, in both signed forms."""
    (release,) = folder.rglob("Release")
    _append(release, "Acquire-By-Hash: yes\n")
    signed = release.with_name("InRelease")
    signed.write_text(signed.read_text().replace("Origin: Rocks", "Origin: Other"))


def _alter_without_inrelease(folder: Path) -> None:
    _alter_release(folder)
    next(folder.rglob("InRelease")).unlink()


def _remove_signatures(folder: Path) -> None:
    _alter_packages(folder)
    for name in ("InRelease", "Release.gpg"):
        next(folder.rglob(name)).unlink()


def _sign_by_another(folder: Path) -> None:
    """A person who can write the distribution's folder puts another key there."""
    with gnupg_folder() as other:
        other.make("other")
        signatures.sign_release(next(folder.rglob("Release")), other.folder)
        signatures.export_key(folder.parent / "key.gpg", other.folder)


def test_hosts_take_only_what_the_site_signed(
    served: Site, pki: Path, distribution: Path, keys: Keys, tmp_path: Path
) -> None:
    report = ("report", "host", "profile", "vmc-0-0")
    unsigned = served.done(*report)
    assert "is not signed, and this site has a key in" in unsigned
    assert "/etc/apt/sources.list.d/rocks.sources" not in written_files(unsigned)

    folder = _build(tmp_path / "roll", distribution) / "Debian"
    profile = served.done(*report)
    assert "Trusted" not in profile
    host = Host(HOST_ADDRESS)
    try:
        apt = _apt(tmp_path / "good", pki / "ca.crt", profile)
        assert host.run(*apt, "update", "--error-on=any").error_text == ""
        fetched = host.run("env", "-C", str(tmp_path), *apt, "download", "site-mark")
        assert fetched.exit_status == 0, fetched.error_text
        for alter, message in (
            (_alter_packages, "File has unexpected size"),
            (_alter_release, "signature"),
            (_alter_without_inrelease, "signature"),
            (_remove_signatures, "is not signed"),
            (_sign_by_another, "signature"),
        ):
            shutil.copytree(folder, tmp_path / "before")
            alter(folder)
            apt = _apt(tmp_path / alter.__name__, pki / "ca.crt", profile)
            refused = host.run(*apt, "update", "--error-on=any")
            assert refused.exit_status != 0 and message in refused.error_text, refused.error_text
            assert host.run(*apt, "download", "site-mark").exit_status != 0, alter.__name__
            shutil.rmtree(folder)
            (tmp_path / "before").rename(folder)
        _sign_by_another(folder)
        assert written_files(served.done(*report))[_KEY] == written_files(profile)[_KEY]
    finally:
        host.close()


@pytest.mark.slow
def test_what_is_no_package_is_not_given_by_a_quoted_path_either(
    served: Site, pki: Path, distribution: Path
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
