"""Blank machines become hosts: BIOS and UEFI, RAID 1, after a power cut; disks with data are left alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.core.process import run_checked
from tests.installer.blank_machine import DIST, Machine, Site, make_disk

pytestmark = [
    pytest.mark.installer,
    pytest.mark.skipif(not (DIST / "installer.img").exists(), reason="nothing is built; run make installer"),
]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site with one host."""
    found = Site(tmp_path)
    yield found
    found.close()


def _installed(machine: Machine) -> None:
    machine.wait_for_report("installed")
    machine.wait_until_off()


def _check_first_boot(machine: Machine) -> dict[str, str]:
    """The host starts from its disks, runs its profile, and lets the frontend in; returns answers by command."""
    reports = list(machine.site.reports)
    machine.start(network=False)
    try:
        machine.wait_for_report("configured")
        assert machine.ask("cat", "/root/profile-ran").text.startswith("compute-0-0\n")
        key = machine.ask("cat", "/etc/ssh/ssh_host_ed25519_key.pub").text.split()[:2]
        assert f"host-key {' '.join(key)}" in reports
        commands = (
            "findmnt -no SOURCE,FSTYPE /",
            "ip -4 -o addr show dev eth0",
            "swapon --show=NAME --noheadings",
        )
        return {
            command: machine.ask(command).text
            for command in (*commands, "cat /proc/mdstat", "lsblk -no PARTLABEL")
        }
    finally:
        machine.cut_power()


def test_bios_and_a_power_cut_while_the_archive_is_unpacked(site: Site) -> None:
    machine = Machine(site, "bios", [make_disk(site.folder, "bios")])
    site.plan("0123456789abcdef", install_partitions="root:5:ext4:/ swap:1:swap pool:rest:none")
    machine.start(network=True)
    try:
        machine.wait_until(
            lambda: sum(line.startswith("unpacking") for line in site.reports) > 1, "unpacking"
        )
        machine.cut_power()
        machine.start(network=False)
        machine.wait_until(
            lambda: "No bootable device" in machine.console, "a half-made system does not start"
        )
        machine.cut_power()
        machine.start(network=True)
        _installed(machine)
    finally:
        machine.cut_power()
    assert "BIOS" in machine.wait_for_report("started")
    answers = _check_first_boot(machine)
    assert "10.9.0.9/24" in answers["ip -4 -o addr show dev eth0"]
    assert answers["swapon --show=NAME --noheadings"].strip() == "/dev/vda4"
    assert answers["lsblk -no PARTLABEL"].split() == ["bios", "efi", "root", "swap", "pool"]


def test_uefi_and_a_report_that_was_lost(site: Site) -> None:
    machine = Machine(site, "uefi", [make_disk(site.folder, "uefi")], uefi=True, bus="nvme")
    site.plan("0123456789abcdef", install_disk="serial=DISK0")
    machine.start(network=True)
    try:
        _installed(machine)
        assert "UEFI" in machine.wait_for_report("started")
        reports = list(site.reports)
        site.reports.clear()
        machine.start(network=True)
        _installed(machine)
        assert not [line for line in site.reports if line.startswith("partitioning")]
        site.reports[:] = reports
    finally:
        machine.cut_power()
    assert _check_first_boot(machine)["findmnt -no SOURCE,FSTYPE /"].split() == ["/dev/nvme0n1p3", "ext4"]


def test_raid1_starts_from_the_second_disk_alone(site: Site) -> None:
    disks = [make_disk(site.folder, "first"), make_disk(site.folder, "second")]
    machine = Machine(site, "raid1", disks)
    site.plan("0123456789abcdef", install_disk="smallest,smallest")
    machine.start(network=True)
    try:
        _installed(machine)
    finally:
        machine.cut_power()
    machine.disks = disks[1:]
    answers = _check_first_boot(machine)
    assert answers["findmnt -no SOURCE,FSTYPE /"].startswith("/dev/md")
    assert "[2/1]" in answers["cat /proc/mdstat"]


def test_a_disk_with_data_and_a_wrong_checksum(site: Site) -> None:
    disk = make_disk(site.folder, "data")
    raw = site.folder / "data.raw"
    with raw.open("wb") as file:
        file.truncate(8 * 1000**3)
    run_checked(["mke2fs", "-q", "-F", "-t", "ext4", "-L", "precious", str(raw)], deadline_seconds=60)
    run_checked(["qemu-img", "convert", "-O", "qcow2", str(raw), str(disk)], deadline_seconds=60)
    machine = Machine(site, "data", [disk])
    site.plan("0123456789abcdef")
    machine.start(network=True)
    try:
        machine.wait_until(lambda: any(line.startswith("failed") for line in site.reports), "failure")
        machine.wait_until(lambda: "a shell follows" in machine.console, "shell on the console")
    finally:
        machine.cut_power()
    assert "has data: disk ext4" in site.reports[-1]
    same = run_checked(
        ["qemu-img", "compare", "-f", "raw", "-F", "qcow2", str(raw), str(disk)], deadline_seconds=120
    )
    assert "identical" in same.text
    site.plan("0123456789abcdef", digest="b" * 64, install_overwrite="yes")
    machine.start(network=True)
    try:
        machine.wait_until(lambda: any(line.startswith("failed") for line in site.reports), "failure")
        machine.cut_power()
        machine.start(network=False)
        machine.wait_until(lambda: "No bootable device" in machine.console, "a damaged system does not start")
    finally:
        machine.cut_power()
    assert "is damaged: its SHA-256 is" in site.reports[-1]
