"""Files on hosts, behind a real sshd on a machine with folders of its own."""

import io
import tarfile
import threading
from pathlib import Path

import pytest

from lab.namespace import Machine
from lab.sshd import SshServer
from rocks.core.errors import BusyError, HostError
from rocks.fleet import host_files
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.fleet.host_files import FileChange, read_files, replace_files
from rocks.trust.accounts import ACCOUNT_FILES, LOCKS, Accounts, account_changes, chosen_accounts
from tests.contract.outcomes import refused
from tests.contract.ssh_hosts import known_host

pytestmark = pytest.mark.system

Place = tuple[HostAddress, FleetSettings]
ALICE = chosen_accounts(
    "alice:x:7100:7100:Alice:/home/alice:/bin/bash\n", "alice:$6$salt$hash:1::::::\n", "alice:x:7100:\n", ""
)
NOBODY = Accounts({}, {}, {})


@pytest.fixture
def host(ssh_settings: tuple[FleetSettings, SshServer], machine: Machine, tmp_path: Path) -> Place:
    theirs, server = ssh_settings
    # libvirt's account, which other tests on this machine need: no file is renamed over a mounted one
    there(machine, "/bin/sh", "-c", "umount /etc/passwd /etc/group 2>/dev/null || true")
    settings = theirs._replace(known_hosts_file=str(tmp_path / "known_hosts"))
    return known_host(server, settings), settings


def there(machine: Machine, *arguments: str) -> str:
    """Output of a program on the machine."""
    return machine.run_checked(list(arguments), 20).text


def write_accounts(host: Place, accounts: Accounts) -> int:
    """The number of changed files."""
    found = read_files(*host, ACCOUNT_FILES)
    changes = account_changes(found, accounts)
    if changes:
        replace_files(*host, found, changes, LOCKS)
    return len(changes)


@pytest.mark.slow
def test_accounts_come_and_go(host: Place, machine: Machine) -> None:
    before = {path: there(machine, "/bin/cat", path) for path in ACCOUNT_FILES[:3]}
    owner = there(machine, "/usr/bin/stat", "-c", "%a %U %G", "/etc/shadow", "/etc/passwd")
    assert write_accounts(host, ALICE) > 0
    assert write_accounts(host, ALICE) == 0
    assert there(machine, "/usr/bin/getent", "passwd", "alice").startswith("alice:x:7100:7100:Alice")
    assert "alice:$6$salt$hash" in there(machine, "/bin/cat", "/etc/shadow")
    assert there(machine, "/usr/bin/id", "alice") == "uid=7100(alice) gid=7100(alice) groups=7100(alice)\n"
    there(machine, "/usr/sbin/pwck", "-r", "-q", "/etc/passwd", "/etc/shadow")  # exit status 0
    assert owner == there(machine, "/usr/bin/stat", "-c", "%a %U %G", "/etc/shadow", "/etc/passwd")
    assert write_accounts(host, NOBODY) > 0
    assert before == {path: there(machine, "/bin/cat", path) for path in ACCOUNT_FILES[:3]}
    assert there(machine, "/usr/bin/find", "/etc", "-name", "*.lock", "-newer", "/etc/passwd") == ""


@pytest.mark.slow
def test_a_file_that_changed_meanwhile_stays(host: Place, machine: Machine) -> None:
    found = read_files(*host, ["/etc/motd-of-test"])
    assert found == {}
    there(machine, "/bin/sh", "-c", "echo theirs >/etc/motd-of-test")
    change = FileChange("/etc/motd-of-test", b"ours\n")
    refused(BusyError, "/etc/motd-of-test has changed meanwhile", replace_files, *host, found, [change])
    assert there(machine, "/bin/cat", "/etc/motd-of-test") == "theirs\n"
    replace_files(*host, read_files(*host, ["/etc/motd-of-test"]), [change])
    assert there(machine, "/bin/cat", "/etc/motd-of-test") == "ours\n"
    replace_files(*host, {change.path: b"ours\n"}, [FileChange(change.path, None)])
    assert read_files(*host, ["/etc/motd-of-test"]) == {}


def test_a_folder_of_secrets_is_roots_alone(host: Place, machine: Machine) -> None:
    folder = "/etc/rocks/secrets of test"
    names = [f"{folder}/a'b", f"{folder}/-rf"]
    replace_files(*host, {}, [FileChange(name, b"\x00\xff\n", 0o600) for name in names])
    assert read_files(*host, [folder]) == dict.fromkeys(names, b"\x00\xff\n")
    modes = there(machine, "/usr/bin/stat", "-c", "%a %U", folder, names[0], names[1])
    assert modes == "700 root\n600 root\n600 root\n"


@pytest.mark.slow
def test_a_lock_that_is_held_is_waited_for_by_nobody_and_a_dead_one_is_taken(
    host: Place, machine: Machine
) -> None:
    there(machine, "/bin/sh", "-c", "echo 1 >/etc/passwd.lock")
    refused(BusyError, "process 1 has locked /etc/passwd", write_accounts, host, ALICE)
    there(machine, "/bin/sh", "-c", "echo 4000000 >/etc/passwd.lock")
    assert write_accounts(host, ALICE) > 0
    assert write_accounts(host, NOBODY) > 0


def test_two_at_once_leave_one_of_both_results(host: Place, machine: Machine) -> None:
    found = read_files(*host, ["/etc/both"])
    errors: list[BusyError] = []

    def write(text: bytes) -> None:
        try:
            replace_files(*host, found, [FileChange("/etc/both", text)])
        except BusyError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in (b"a" * 500_000, b"b" * 500_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 1
    assert len(set(there(machine, "/bin/cat", "/etc/both"))) == 1


def test_a_host_that_does_not_answer_or_refuses_is_an_error(host: Place, machine: Machine) -> None:
    address, settings = host
    with pytest.raises(
        HostError, match=r"cannot be read: ssh: .*; is it up\? Repeat the command when it answers$"
    ):
        read_files(address._replace(port=1), settings, ["/etc/passwd"])
    without_key = settings._replace(known_hosts_file="/dev/null")
    with pytest.raises(HostError, match="cannot be read: .* rocks sync host sharedkey compute-0-0"):
        read_files(address, without_key, ["/etc/passwd"])
    refused(HostError, "cannot be written", replace_files, *host, {}, [FileChange("/proc/x/y", b"")])


@pytest.mark.parametrize(
    "headers",
    [{"GNU.sparse.map": "x"}, {"GNU.sparse.size": "x"}, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}],
)
def test_an_archive_that_no_tar_writes_is_an_error_of_the_host(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    """Python's tarfile has no error of its own for numbers that are none."""
    sent = io.BytesIO()
    with tarfile.open(fileobj=sent, mode="w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("etc/passwd")
        entry.pax_headers, entry.size = headers, 600
        archive.addfile(entry, io.BytesIO(b"x\n" * 300))
    monkeypatch.setattr(host_files, "_run", lambda *_: sent.getvalue())
    refused(HostError, "sent files that cannot be read", read_files, HostAddress("h", "10.1.0.2"), FleetSettings(),
            ["/etc/passwd"])  # fmt: skip


def test_a_name_longer_than_the_archive_is_an_error_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its length is no number of this machine's memory."""
    header = bytearray(tarfile.TarInfo("etc/passwd").tobuf(tarfile.GNU_FORMAT))
    header[124:136], header[156:157] = b"\x80\0\0\0" + 8 * b"\xff", tarfile.GNUTYPE_LONGNAME
    header[148:156] = b"        "
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    monkeypatch.setattr(host_files, "_run", lambda *_: bytes(header) + bytes(1024))
    refused(HostError, "sent files that cannot be read", read_files, HostAddress("h", "10.1.0.2"), FleetSettings(),
            ["/etc/passwd"])  # fmt: skip
