"""The root archive and the host's own files, with real wget, zstd and tar and a web service with a certificate."""

import hashlib
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.core.process import run_checked
from rocks.network.host_network_files import MARK
from tests.system.installer.shell import Shell
from tests.web_service import WebService, make_certificate

PLAN = 'read_plan "$WORK/../plan"; '


@pytest.fixture
def service(shell: Shell) -> Iterator[WebService]:
    """A service that the installer trusts."""
    (shell.folder / "www").mkdir()
    identity = make_certificate(shell.folder, "service", "127.0.0.1")
    shutil.copy(identity[0], shell.folder / "site/ca.pem")
    (shell.folder / "work/no-authorities").mkdir()
    found = WebService(shell.folder / "www", identity)
    yield found
    found.close()


def _archive(shell: Shell, large: bytes = bytes(range(256)) * 20_000) -> Path:
    source = shell.folder / "source"
    (source / "etc").mkdir(parents=True)
    (source / "etc/issue").write_text("Debian\n")
    (source / "large").write_bytes(large)
    archive = shell.folder / "www/root.tar.zst"
    tar = shell.folder / "root.tar"
    run_checked(["tar", "-C", str(source), "-cf", str(tar), "."], deadline_seconds=60)
    run_checked(["zstd", "-q", "-f", str(tar), "-o", str(archive)], deadline_seconds=60)
    return archive


def _plan(shell: Shell, service: WebService, digest: str) -> None:
    path = shell.write_plan("disk smallest", "partition root rest ext4 /")
    text = path.read_text().replace("https://10.9.0.1", service.url).replace("a" * 64, digest)
    path.write_text(
        text.replace("overwrite", "domain local\ngateway 10.9.0.1\nnameserver 10.9.0.2\noverwrite", 1)
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_intact_archive_is_unpacked(shell: Shell, service: WebService) -> None:
    archive = _archive(shell)
    _plan(shell, service, _digest(archive))
    shell.text(PLAN + "unpack_archive")
    assert (shell.folder / "target/etc/issue").read_text() == "Debian\n"
    assert (shell.folder / "target/large").stat().st_size == 256 * 20_000


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "altered", "other", "missing"])
def test_a_damaged_archive_is_an_error(shell: Shell, service: WebService, damage: str) -> None:
    archive = _archive(shell)
    _plan(shell, service, _digest(archive))
    content = archive.read_bytes()
    if damage == "cut":
        archive.write_bytes(content[: len(content) // 2])
    elif damage == "altered":
        archive.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif damage == "other":
        archive.write_bytes(b"<html>not found</html>")
    else:
        archive.unlink()
    expected = "could not be fetched" if damage == "missing" else "is damaged: its SHA-256 is"
    assert expected in shell.error(PLAN + "unpack_archive")


def test_what_follows_early_damage_is_fetched_too(shell: Shell, service: WebService) -> None:
    """The archive is larger than what pipes hold, and not the fetching failed."""
    archive = _archive(shell, random.Random(1).randbytes(8_000_000))
    _plan(shell, service, _digest(archive))
    archive.write_bytes(bytes(4) + archive.read_bytes()[4:])
    error = shell.error(PLAN + "unpack_archive")
    assert f"is damaged: its SHA-256 is {_digest(archive)}" in error


def test_a_service_with_another_certificate_is_not_spoken_to(shell: Shell, service: WebService) -> None:
    archive = _archive(shell)
    _plan(shell, service, _digest(archive))
    other, _ = make_certificate(shell.folder, "other", "127.0.0.1")
    shutil.copy(other, shell.folder / "site/ca.pem")
    assert "could not be fetched" in shell.error(PLAN + "unpack_archive")
    assert shell.run(PLAN + "report started").exit_status != 0
    assert service.posted == []


def test_reports_are_one_printable_line(shell: Shell, service: WebService) -> None:
    _plan(shell, service, "a" * 64)
    shell.text(PLAN + "report failed \"$(printf 'a\\nb\\033[2Jc')\"; report installed")
    assert service.posted == ["failed a b [2Jc", "installed"]


def test_files_of_the_host(shell: Shell, service: WebService) -> None:
    _plan(shell, service, "a" * 64)
    (shell.folder / "target/etc").mkdir()
    shell.text(PLAN + "write_names; write_network")
    target = shell.folder / "target/etc"
    assert (target / "hostname").read_text() == "compute-0-0\n"
    assert (target / "hosts").read_text() == "127.0.0.1 localhost\n10.9.0.9 compute-0-0.local compute-0-0\n"
    assert (target / "resolv.conf").read_text() == "search local\nnameserver 10.9.0.2\n"
    assert (target / "systemd/network/10-eth0.link").read_text() == (
        f"{MARK}\n[Match]\nPermanentMACAddress=52:54:00:00:00:09\n\n[Link]\nName=eth0\nMTUBytes=1500\n"
    )
    assert (target / "systemd/network/10-eth0.network").read_text() == (
        f"{MARK}\n[Match]\nName=eth0\n\n[Network]\nAddress=10.9.0.9/24\nLinkLocalAddressing=no\nGateway=10.9.0.1\n"
    )


def test_file_systems_and_their_table(shell: Shell) -> None:
    for name in ("root", "data", "swap"):
        with (shell.folder / name).open("wb") as file:
            file.truncate(64 * 1024**2)
    disk = shell.add_disk("vda", 600)
    efi = shell.folder / "dev/vda2"
    with efi.open("wb") as file:
        file.truncate(64 * 1024**2)
    folder = shell.folder
    (folder / "target/etc").mkdir()
    shell.text(
        f"""make_one ext4 root '{folder}/root'; make_one ext4 data '{folder}/data'
        make_one swap swap '{folder}/swap'; make_one vfat EFI '{efi}'
        printf '%s\\n' 'ext4 / {folder}/root' 'swap - {folder}/swap' 'ext4 /data {folder}/data' >"$WORK/mounts"
        echo vda >"$WORK/disks"; write_fstab"""
    )
    lines = (folder / "target/etc/fstab").read_text().splitlines()
    assert [line.split()[1:] for line in lines] == [
        ["/", "ext4", "errors=remount-ro", "0", "1"],
        ["none", "swap", "sw", "0", "0"],
        ["/data", "ext4", "defaults", "0", "2"],
        ["/boot/efi", "vfat", "umask=0077,noauto,x-systemd.automount,x-systemd.idle-timeout=60", "0", "1"],
    ]
    assert all(line.startswith("UUID=") and len(line.split()[0]) > 8 for line in lines)
    assert disk.exists()


def test_arrays_are_listed_where_the_system_is_mirrored(shell: Shell) -> None:
    conf = shell.folder / "target/etc/mdadm/mdadm.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text("HOMEHOST <ignore>\n")
    line = "ARRAY /dev/md0 metadata=1.2 name=any:root UUID=0a0b0c0d:00000000:00000000:00000001"
    scan = f'run_mdadm() {{ [ "$*" != "--detail --scan" ] || echo "{line}"; }}'
    shell.text(f'{scan}; echo vda >"$WORK/disks"; write_arrays')
    assert conf.read_text() == "HOMEHOST <ignore>\n"
    shell.text(f"{scan}; printf 'vda\\nvdb\\n' >\"$WORK/disks\"; write_arrays")
    assert conf.read_text() == f"HOMEHOST <ignore>\n{line}\n"
    none = "run_mdadm() { echo 'no arrays' >&2; }"
    error = shell.error(f"{none}; printf 'vda\\nvdb\\n' >\"$WORK/disks\"; write_arrays")
    assert error.startswith("the arrays of this host cannot be listed: no arrays")
