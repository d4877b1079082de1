"""The os roll: added, enabled, in a distribution, from which alone hosts are equipped without a network."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.namespace import CHECKOUT
from rocks import __version__
from rocks.core.process import run_checked
from rocks.install.rolls.iso import create_roll
from tests.packages.conftest import NAMES
from tests.packages.fresh_roots import Root
from tests.rolls import write_roll
from tests.system.commands.conftest import Site

pytestmark = [pytest.mark.system, pytest.mark.packages]

INSTALLER = {"vmlinuz", "installer.img", "root.tar.zst", "root.sha256"}


@pytest.fixture(scope="session")
def iso() -> Path:
    """The ISO of `make os-roll`."""
    if os.geteuid() != 0:
        pytest.skip("a root folder is made and entered by root")
    found = list((CHECKOUT / "dist").glob("os-*.disk1.iso"))
    if len(found) != 1:
        pytest.skip("dist/ has not exactly one os-*.disk1.iso: make os-roll")
    return found[0]


@pytest.fixture
def distribution(roll_site: Site, iso: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The distribution of the os roll and of a roll with our packages, made by the commands of an operator."""
    source = tmp_path / "source"
    ours = write_roll(source, "ours")
    (source / "packages").mkdir()
    for name in NAMES:
        for package in (CHECKOUT / "dist").glob(f"{name}_*.deb"):
            shutil.copy2(package, source / "packages")
    ours.write_text(ours.read_text().replace('arch="noarch"', 'arch="x86_64"'))
    for medium in (iso, create_roll(ours, tmp_path)):
        added = roll_site.rocks("add", "roll", str(medium))
        assert added.status == 0, added.err
    roll_site.done("enable", "roll", "os", "ours")
    folder = tmp_path / "export/install"
    monkeypatch.chdir(folder)
    assert roll_site.done("create", "distro").endswith(" rpm packages, the installer of hosts\n")
    return folder / "rocks-dist/x86_64"


@pytest.fixture
def host(distribution: Path, tmp_path: Path) -> Iterator[Root]:
    """The root archive of the distribution, unpacked; its only source of packages is the distribution."""
    folder = tmp_path / "host"
    folder.mkdir()
    archive = distribution / "installer/root.tar.zst"
    run_checked(
        ["tar", "--zstd", "-C", str(folder), "--numeric-owner", "--exclude=./dev/*", "-xf", str(archive)],
        deadline_seconds=900,
    )
    shutil.copytree(distribution, folder / "srv/distribution", copy_function=os.link)
    (folder / "etc/apt/sources.list").write_text(
        "deb [trusted=yes] file:/srv/distribution/Debian rocks-dist main\n"
    )
    (folder / "etc/apt/apt.conf.d/90root").write_text(
        'APT::Sandbox::User "root";\nDPkg::Options { "--force-unsafe-io"; };\n'
    )
    # it takes minutes on a machine at work, and this root is never started
    (folder / "etc/initramfs-tools/update-initramfs.conf").write_text("update_initramfs=no\n")
    policy = folder / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    root = Root(folder)
    root.done("apt-get", "update", "-q")
    yield root
    root.close()
    shutil.rmtree(folder, ignore_errors=True)


def test_hosts_and_nases_are_equipped_from_the_distribution_alone(host: Root, distribution: Path) -> None:
    """Agent, image daemons and ZFS; the modules are those of the archive's kernel, and nothing is compiled."""
    assert {path.name for path in (distribution / "installer").iterdir()} == INSTALLER
    run_checked(
        ["env", "-C", str(distribution / "installer"), "sha256sum", "--check", "--quiet", "root.sha256"],
        deadline_seconds=120,
    )
    (kernel,) = (path.name for path in (host.folder / "lib/modules").iterdir())
    host.install(
        "rocks-agent", "rocks-imgstorage-host", "rocks-imgstorage-nas", f"rocks-zfs-modules-{kernel}"
    )
    assert host.done("/opt/rocks/libexec/rocks-agent", "--version").strip() == __version__
    needed = host.done("modprobe", "--set-version", kernel, "--show-depends", "zfs")
    loaded = {line.rpartition("/")[2].strip() for line in needed.splitlines() if "/extra/zfs/" in line}
    of_package = host.done("dpkg-query", "-L", f"rocks-zfs-modules-{kernel}").split()
    assert {"spl.ko", "zfs.ko"} <= loaded == {Path(path).name for path in of_package if path.endswith(".ko")}
    stated = host.done("modinfo", "-k", kernel, "-F", "vermagic", "zfs").split()
    assert stated[0] == kernel
    version = host.done("modinfo", "-k", kernel, "-F", "version", "zfs").strip()
    assert version.split("-")[0] in host.done("dpkg-query", "-W", "-f", "${Version}", "zfsutils-linux")
    assert host.run("sh", "-c", "command -v gcc || command -v dkms").exit_status != 0
    assert "0 upgraded, 0 newly installed" in host.done("apt-get", "-q", "-s", "dist-upgrade")
    # what a host removes it can install again: the archive's own packages are in the distribution, too
    host.done("apt-get", "install", "-q", "-y", "--reinstall", "ethtool", "procps")
    host.done("apt-get", "purge", "-q", "-y", "rocks-zfs-modules-*")
    assert host.run("modinfo", "-k", kernel, "zfs").exit_status != 0


def test_every_package_of_node_files_can_be_installed(host: Root) -> None:
    """All at once, by a simulation; and every package that the repository has is one that apt knows how to install."""
    command = ["env", f"PYTHONPATH={CHECKOUT / 'src'}", str(CHECKOUT / ".state/venv/bin/python")]
    listing = [*command, str(CHECKOUT / "roll/os/node-packages"), str(CHECKOUT / "nodes")]
    names = run_checked(listing, deadline_seconds=60).text.split()
    assert len(names) > 10
    assert "Inst " in host.done("apt-get", "-q", "-s", "install", "rocks-cli", "rocks-zfs-modules", *names)
