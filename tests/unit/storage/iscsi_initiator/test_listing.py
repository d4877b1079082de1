"""Sessions are read from the kernel as they are."""

from pathlib import Path

import pytest

from rocks.core.errors import IncoherentError, StateError
from rocks.storage.iscsi_initiator import users
from rocks.storage.iscsi_initiator.listing import parse_serial, read_kernel_sessions
from rocks.storage.iscsi_initiator.rules import check_one_session, parse_initiator
from rocks.storage.iscsi_initiator.users import find_used, find_users

TARGET = "iqn.2001-04.com.nas:vm1-vol.3"
PAGE = b"\x00\x80\x00\x110123456789abcdef\x00"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def make_session(system: Path, number: int, target: str, disk: str = "") -> None:
    """As /sys has it, as far as it is looked at."""
    device = system / f"devices/platform/host{number + 1}/session{number}"
    folder = device / f"iscsi_session/session{number}"
    write(folder / "targetname", f"{target}\n")
    write(folder / "state", "LOGGED_IN\n")
    (folder / "device").symlink_to(device)
    connection = device / f"connection{number}:0/iscsi_connection/connection{number}:0"
    write(connection / "persistent_address", "10.9.0.10\n")
    write(connection / "persistent_port", "3260\n")
    (system / "class/iscsi_session").mkdir(parents=True, exist_ok=True)
    (system / f"class/iscsi_session/session{number}").symlink_to(folder)
    if disk:
        unit = device / f"target{number + 1}:0:0/{number + 1}:0:0:0"
        (unit / "block" / disk).mkdir(parents=True)
        (unit / "vpd_pg80").write_bytes(PAGE)
        write(system / "block" / disk / "size", "16384\n")
        write(system / "block" / disk / "ro", "1\n")


def test_a_session_with_its_disk(tmp_path: Path) -> None:
    """The colon of the name survives, and the disk has its lasting name."""
    make_session(tmp_path, 1, TARGET, "sdc")
    (session,) = read_kernel_sessions(tmp_path)
    assert session.fact.target == TARGET
    assert session.fact.device_path == f"/dev/disk/by-path/ip-10.9.0.10:3260-iscsi-{TARGET}-lun-0"
    assert (session.fact.disk, session.fact.state) == ("sdc", "LOGGED_IN")
    assert (session.fact.unit_serial, session.fact.size_bytes) == ("0123456789abcdef", 16384 * 512)
    assert session.fact.is_read_only
    assert (session.host, session.disk_folder) == ("host2", tmp_path / "block/sdc")


def test_sessions_without_disk_and_in_order(tmp_path: Path) -> None:
    """A target that shows none has none; one that goes away meanwhile is left out."""
    make_session(tmp_path, 1, "iqn.2001-04.com.nas:b.1")
    make_session(tmp_path, 2, "iqn.2001-04.com.nas:a.1", "sda")
    (tmp_path / "class/iscsi_session/session3").symlink_to(tmp_path / "gone")
    first, second = read_kernel_sessions(tmp_path)
    assert (first.fact.target[-3:], first.fact.disk) == ("a.1", "sda")
    assert (second.fact.target[-3:], second.fact.disk, second.fact.device_path) == ("b.1", "", "")
    assert second.disk_folder is None
    assert read_kernel_sessions(tmp_path / "nothing") == ()


def test_two_sessions_of_one_target_are_one_too_many(tmp_path: Path) -> None:
    """The match is ambiguous."""
    make_session(tmp_path, 1, TARGET, "sda")
    make_session(tmp_path, 2, TARGET, "sdb")
    check_one_session(TARGET, 1)
    with pytest.raises(IncoherentError, match="has 2 sessions"):
        check_one_session(TARGET, len(read_kernel_sessions(tmp_path)))


@pytest.mark.parametrize(
    ("page", "serial"),
    [
        (PAGE, "0123456789abcdef"),
        (b"\x00\x80\x00\x04  ab\xff\xff", "ab"),
        (b"\x00\x83\x00\x02ab", ""),
        (b"\x00\x80", ""),
        (b"", ""),
    ],
)
def test_serials(page: bytes, serial: str) -> None:
    """Of the page's own length, without the ends that fill it; of another page none."""
    assert parse_serial(page) == serial


def test_devices_above_a_disk_use_it(tmp_path: Path) -> None:
    """By the name that device-mapper gives them; of partitions, too."""
    disk = tmp_path / "sdc"
    write(disk / "dev", "8:32\n")
    write(disk / "holders/dm-0/dm/name", "vm1-vol-origin\n")
    write(disk / "sdc1/dev", "8:33\n")
    (disk / "sdc1/holders/md0").mkdir(parents=True)
    assert find_users(disk, may_open=False) == ["the device vm1-vol-origin", "the device md0"]
    assert find_used({"a": disk}) == {"a"}


def test_a_mounted_disk_is_used(tmp_path: Path) -> None:
    """Nobody has it open then but the kernel."""
    number, _, place = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()[0].split()[2:5]
    write(tmp_path / "sdc/dev", f"{number}\n")
    write(tmp_path / "sdd/dev", "259:7777\n")
    assert f"the mount at {place}" in find_users(tmp_path / "sdc", may_open=False)
    assert find_used({"a": tmp_path / "sdc", "b": tmp_path / "sdd"}) == {"a"}


@pytest.mark.parametrize("end", "\r\v\f\x1c\x85\u2028")
def test_a_mount_at_a_place_with_an_odd_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """The kernel writes it as it is, but for blanks and ends of lines; it neither hides a mount nor forges one."""
    mount = f"36 35 8:48 / /mnt/a{end}b{end}8:16{end}c rw - ext4 /dev/sdd rw\n40 35 8:32 / /srv rw - ext4 /dev/sdc rw\n"
    write(tmp_path / "proc/self/mountinfo", mount)
    monkeypatch.setattr(users, "_PROCESSES", tmp_path / "proc")
    disks = {}
    for name, number in (("sdb", "8:16"), ("sdc", "8:32"), ("sdd", "8:48")):
        disks[name] = tmp_path / "block" / name
        write(disks[name] / "dev", f"{number}\n")
    assert find_used(disks) == {"sdc", "sdd"}
    assert find_users(disks["sdc"], may_open=False) == ["the mount at /srv"]
    assert find_users(disks["sdb"], may_open=False) == []


def test_the_name_of_this_host() -> None:
    """Comments do not count, and Debian's request for one is none."""
    assert (
        parse_initiator("# a comment\nInitiatorName=iqn.1993-08.org.debian:01:ab \n")
        == "iqn.1993-08.org.debian:01:ab"
    )
    for text in ("", "GenerateName=yes\n", "#InitiatorName=iqn.x\n", "InitiatorName=\n"):
        with pytest.raises(StateError, match="^no initiator name: "):
            parse_initiator(text)
