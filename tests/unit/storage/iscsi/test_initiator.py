"""Sessions are read from the kernel as they are."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from rocks.core.errors import HostError, IncoherentError, StateError, ToolError
from rocks.storage.iscsi import initiator
from rocks.storage.iscsi.initiator import (
    KernelSession,
    SessionSpec,
    check_one_session,
    edit_record,
    find_used,
    find_users,
    login_error,
    no_disk,
    parse_initiator,
    parse_serial,
    read_kernel_sessions,
    record_settings,
    write_settings,
)
from rocks.storage.iscsi.names import ChapSecrets

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
    monkeypatch.setattr(initiator, "_PROCESSES", tmp_path / "proc")
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


# The disk of a new session is compared with what it must be when the kernel has asked the NAS for it.


SPEC = SessionSpec(TARGET, "10.9.0.10", 3260, None, "0123456789abcdef", 16384 * 512, read_only=True)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's folder of the session's disk, which it shows as writable."""
    make_session(tmp_path, 1, TARGET, "sdc")
    folder = tmp_path / "block/sdc"
    (folder / "ro").write_text("0\n")
    (folder / "device").mkdir()
    os.mkfifo(folder / "device/rescan")
    monkeypatch.setattr(initiator, "find_session", lambda target: read_kernel_sessions(tmp_path)[0])
    monkeypatch.setattr(initiator, "_SETTLE_SECONDS", 0.1)
    return folder


def answer(disk: Path, write_protection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel asks the NAS once, on request; as the real one, it has the answer before the request returns."""

    def once() -> None:
        assert (disk / "device/rescan").read_text() == "1"
        (disk / "ro").write_text(f"{write_protection}\n")

    def read_disk_again(session: KernelSession, deadline_seconds: float) -> None:
        read(session, deadline_seconds)
        kernel.join()

    read = initiator.read_disk_again
    kernel = Thread(target=once)
    kernel.start()
    monkeypatch.setattr(initiator, "read_disk_again", read_disk_again)


def test_a_disk_that_a_busy_nas_did_not_describe_is_read_again(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel assumes that it is writable; sixteen starts at once failed by that."""
    answer(disk, "1", monkeypatch)
    assert initiator._wait_for_matching_disk(SPEC).fact.is_read_only


def test_a_disk_that_is_writable_is_refused(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(disk, "0", monkeypatch)
    with pytest.raises(IncoherentError, match="is writable, but must be read-only; it is not used"):
        initiator._wait_for_matching_disk(SPEC)


# A node record says what is wanted, and its file is root's alone.


RECORD = """# BEGIN RECORD 2.1.8
node.name = iqn.2001-04.com.nas:vm1-vol.3
node.tpgt = -1
node.startup = automatic
node.session.auth.authmethod = None
node.session.auth.chap_algs = MD5
node.session.timeo.replacement_timeout = 120
node.session.timeo.replacement_timeout_of_theirs = 7
# END RECORD
"""
RECORD_SPEC = SessionSpec(
    target="iqn.2001-04.com.nas:vm1-vol.3",
    address="10.9.0.10",
    port=3260,
    chap=ChapSecrets("vm1", "a-secret-of-the-host", "nas", "a-secret-of-the-nas"),
    unit_serial="0123456789abcdef",
    size_bytes=8 * 1024**2,
    read_only=True,
)


def settings_in(text: str) -> dict[str, str]:
    pairs = (line.partition(" = ") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def test_a_record_is_edited() -> None:
    """Each setting stands in it once; others stay; a second time changes nothing."""
    edited = edit_record(RECORD, record_settings(RECORD_SPEC))
    found = settings_in(edited)
    assert len(found) == len(edited.splitlines()) - 2
    assert found["node.name"] == RECORD_SPEC.target and found["node.tpgt"] == "-1"
    assert found["node.startup"] == "manual" and found["node.session.scan"] == "manual"
    assert found["node.session.timeo.replacement_timeout"] == "-1"
    assert (
        found["node.conn[0].timeo.noop_out_interval"] == found["node.conn[0].timeo.noop_out_timeout"] == "5"
    )
    assert found["node.session.timeo.replacement_timeout_of_theirs"] == "7"
    assert found["node.session.auth.authmethod"] == "CHAP"
    assert found["node.session.auth.password"] == "a-secret-of-the-host"
    assert found["node.session.auth.password_in"] == "a-secret-of-the-nas"
    assert edited.startswith("# BEGIN RECORD") and edited.endswith("# END RECORD\n")
    assert edit_record(edited, record_settings(RECORD_SPEC)) == edited


def test_without_secrets_none_is_left() -> None:
    """Of an earlier use, or of the host's defaults."""
    edited = edit_record(RECORD, record_settings(RECORD_SPEC))
    plain = settings_in(edit_record(edited, record_settings(replace(RECORD_SPEC, chap=None))))
    assert plain["node.session.auth.authmethod"] == "None"
    assert not [name for name in plain if "password" in name or "username" in name]


def test_a_record_that_was_cut_off() -> None:
    """It is not guessed what else stood in it."""
    with pytest.raises(ToolError, match="without its end"):
        edit_record(RECORD.replace("# END RECORD\n", ""), {})


def test_the_file_is_replaced(tmp_path: Path) -> None:
    """Readable by root alone whatever it was, with nothing left beside it, and left alone when it is right."""
    path = tmp_path / "nodes" / RECORD_SPEC.target / "10.9.0.10,3260"
    path.parent.mkdir(parents=True)
    path.write_text(RECORD)
    path.chmod(0o644)
    write_settings(path, record_settings(RECORD_SPEC))
    assert path.stat().st_mode & 0o777 == 0o600
    assert settings_in(path.read_text())["node.session.auth.username"] == "vm1"
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path]
    first = path.stat().st_ino
    draft = tmp_path / f".rocks-{RECORD_SPEC.target}.unfinished-1-aa"
    draft.write_text("a secret in the draft of a killed writer")
    write_settings(path, record_settings(RECORD_SPEC))
    assert path.stat().st_ino == first
    write_settings(path, record_settings(replace(RECORD_SPEC, chap=None)))
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path]
    with pytest.raises(HostError, match="cannot write the node record"):
        write_settings(tmp_path / "nodes" / "x" / "y", {})


NOT_FOUND = f"Could not find iSCSI target {RECORD_SPEC.target} on server {RECORD_SPEC.address}: "


@pytest.mark.parametrize(
    ("exit_status", "kind", "begin"),
    [
        (24, StateError, "the NAS rejects this host"),
        (19, StateError, "the NAS rejects this host"),
        (4, HostError, NOT_FOUND),
        (8, HostError, NOT_FOUND),
        (11, HostError, NOT_FOUND),
        (5, HostError, NOT_FOUND),
        (18, ToolError, "Error executing iscsiadm: "),
    ],
)
def test_what_a_failed_login_means(exit_status: int, kind: type[Exception], begin: str) -> None:
    """Refused, not there, or trouble of this host's own; in the words that programs know."""
    error = login_error(RECORD_SPEC, exit_status, "its words")
    assert type(error) is kind and str(error).startswith(begin) and "its words" in str(error)


def test_a_target_without_a_disk_is_in_no_list_of_targets() -> None:
    assert str(no_disk(RECORD_SPEC)).startswith(f"Not found {RECORD_SPEC.target} in targets: ")
