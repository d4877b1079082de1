"""iSCSI sessions through open-iscsi: disks of a NAS on this host.

Targets are named, never discovered. Sessions are read from the kernel and checked by pure functions; iscsiadm logs in
and out. `tests/fakes` implements the same Protocol in memory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple, Optional, Protocol, Sequence, Set, Tuple

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.dataclasses import dataclass
from rocks.core.errors import HostError, IncoherentError, RocksError, StateError, ToolError, UserError
from rocks.core.files import draft, remove_drafts, text_if_readable
from rocks.core.process import Finished, run, start_with_pipes
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.storage.iscsi.names import ChapSecrets, check_chap, check_iscsi_name, check_portal

LOGGED_IN = "LOGGED_IN"
"""The state of a working session; in other states, I/O waits until the NAS is back or the session is removed."""


@dataclass(frozen=True)
class SessionSpec:
    """The disk of a target as the NAS described it; serial, size and read-only flag are checked after the login."""

    target: str
    address: str
    port: int
    chap: Optional[ChapSecrets]
    unit_serial: str
    size_bytes: int
    read_only: bool


class SessionFact(NamedTuple):
    """A session.

    `device_path` is the disk's path below /dev/disk/by-path; `disk` is the kernel's name, which can change and is for
    display only. Both are empty while no disk is attached.
    """

    target: str
    address: str
    port: int
    state: str
    device_path: str
    disk: str
    unit_serial: str
    size_bytes: int
    is_read_only: bool


class SessionDriver(Protocol):
    """iSCSI sessions of a host."""

    def read_initiator(self) -> str:
        """The iSCSI name of this host. StateError without one."""

    def ensure_session(self, spec: SessionSpec) -> SessionFact:
        """Log in to the target and attach its disk.

        The login is not repeated after a reboot. I/O to a lost NAS waits without limit. An existing session is not
        changed, even when its NAS is unreachable. HostError when the NAS does not answer or has no such target;
        StateError when it rejects this host; IncoherentError when the disk does not match the spec: the session is
        then closed, unless it is in use.
        """

    def ensure_session_gone(self, target: str) -> Change:
        """Remove session, disk and node record of the target, also when its NAS is unreachable.

        StateError with the names of its users, and no change, when the disk is in use.
        """

    def read_sessions(self) -> Tuple[SessionFact, ...]:
        """All iSCSI sessions of this host, of any origin, sorted by target."""

    def used_targets(self) -> Set[str]:
        """The targets whose disks something uses; asks no NAS."""


# --- checks of session specs, and whether sessions and disks match them ----------------------------------------------


_SECTOR_BYTES = 512
_LOGIN_FAILED = 5
_NO_ANSWER = (4, 8, 11)
_REFUSED = (19, 24)
_INITIATOR = "InitiatorName="


def check_session(spec: SessionSpec) -> None:
    """UserError unless the spec is valid."""
    check_iscsi_name(spec.target)
    check_portal(spec.address, spec.port)
    check_chap(spec.chap)
    if not spec.unit_serial:
        raise UserError(f"the disk of {spec.target} needs a unit serial")
    if spec.size_bytes <= 0 or spec.size_bytes % _SECTOR_BYTES:
        raise UserError(f"{spec.size_bytes} bytes is not a valid disk size: a multiple of {_SECTOR_BYTES}")


def device_path_of(target: str, address: str, port: int) -> str:
    """The udev link of LUN 0 of a target."""
    return f"/dev/disk/by-path/ip-{address}:{port}-iscsi-{target}-lun-0"


def check_one_session(target: str, count: int) -> None:
    """IncoherentError when a target has more than one session."""
    if count > 1:
        raise IncoherentError(f"this host has {count} sessions of {target}: log out all but one")


def check_portal_matches(spec: SessionSpec, found: SessionFact) -> None:
    """IncoherentError when this host is logged in to the target at another portal."""
    if (found.address, found.port) != (spec.address, spec.port):
        raise IncoherentError(
            f"this host is logged in to {spec.target} at {found.address}:{found.port}, "
            f"not {spec.address}:{spec.port}"
        )


def check_disk(spec: SessionSpec, found: SessionFact) -> None:
    """IncoherentError unless the attached disk matches the spec."""
    differences = []
    if found.unit_serial != spec.unit_serial:
        differences.append(f"has serial {found.unit_serial or 'none'}, not {spec.unit_serial}")
    if found.size_bytes != spec.size_bytes:
        differences.append(f"has {found.size_bytes} bytes, not {spec.size_bytes}")
    if found.is_read_only != spec.read_only:
        differences.append("is read-only" if found.is_read_only else "is writable, but must be read-only")
    if differences:
        raise IncoherentError(f"the disk of {spec.target} {' and '.join(differences)}; it is not used")


def in_use(target: str, users: Sequence[str]) -> StateError:
    """The error for a disk in use."""
    return StateError(f"the disk of {target} is in use by {', '.join(users)}; release it first")


def no_disk(spec: SessionSpec) -> HostError:
    """The error for a target without a disk."""
    return HostError(
        f"Not found {spec.target} in targets: at {spec.address}:{spec.port} it has no disk for this host; "
        "is the NAS down?"
    )


def login_error(spec: SessionSpec, exit_status: int, message: str) -> RocksError:
    """The error for a failed `iscsiadm --login`, by its exit status (iscsi_err.h of open-iscsi).

    Existing programs match the first words of some texts, as of `no_disk` and `parse_initiator`.
    """
    place = f"{spec.target} at {spec.address}:{spec.port}"
    if exit_status in _REFUSED:
        return StateError(f"the NAS rejects this host at {place}: export it to this host first ({message})")
    if exit_status in _NO_ANSWER or exit_status == _LOGIN_FAILED:
        return HostError(
            f"Could not find iSCSI target {spec.target} on server {spec.address}: the NAS does not answer for {place}, "
            f"or has not exported it yet: {message}"
        )
    return ToolError(f"Error executing iscsiadm: no login to {place}, exit status {exit_status}: {message}")


def parse_initiator(text: str) -> str:
    """The name in /etc/iscsi/initiatorname.iscsi. StateError without a name."""
    for line in text.splitlines():
        if line.strip().startswith(_INITIATOR):
            name = line.strip()[len(_INITIATOR) :].strip()
            if name:
                return name
    raise StateError(
        "no initiator name: this host has no iSCSI name; write InitiatorName=iqn.YYYY-MM.DOMAIN:HOST to "
        "/etc/iscsi/initiatorname.iscsi, and restart iscsid"
    )


# --- read sessions from sysfs: no process and no I/O to a disk, so it cannot hang ------------------------------------
# An offline disk counts as attached.


SYSTEM = Path("/sys")
_PAGE_HEADER_BYTES = 4
_SERIAL_PAGE = 0x80


class KernelSession(NamedTuple):
    """A session and its folders in sysfs; `disk_folder` is below /sys/block, None without a disk."""

    fact: SessionFact
    folder: Path
    host: str
    disk_folder: Optional[Path]


def read_kernel_sessions(system: Path = SYSTEM) -> Tuple[KernelSession, ...]:
    """All sessions, sorted by target; sessions that end meanwhile are omitted."""
    found: List[KernelSession] = []
    for folder in sorted((system / "class/iscsi_session").glob("session*")):
        try:
            found.append(_read_session(system, folder))
        except (OSError, ValueError):
            continue
    return tuple(sorted(found, key=lambda session: session.fact.target))


def parse_serial(page: bytes) -> str:
    """The unit serial in VPD page 80 (SPC: a header of 4 bytes, the last two are the length)."""
    if len(page) < _PAGE_HEADER_BYTES or page[1] != _SERIAL_PAGE:
        return ""
    length = int.from_bytes(page[2:_PAGE_HEADER_BYTES], "big")
    text = page[_PAGE_HEADER_BYTES : _PAGE_HEADER_BYTES + length]
    return text.decode("ascii", "replace").strip("\0 ")


def _read_session(system: Path, folder: Path) -> KernelSession:
    device = (folder / "device").resolve(strict=True)
    connection = next(iter(sorted(device.glob("connection*/iscsi_connection/connection*"))), None)
    target = _read(folder / "targetname")
    address = _read(connection / "persistent_address") if connection is not None else ""
    port = int(_read(connection / "persistent_port")) if connection is not None else 0
    unit = next(iter(sorted(device.glob("target*/*:0"))), None)
    names = sorted(path.name for path in unit.glob("block/*")) if unit is not None else []
    disk = system / "block" / names[0] if names else None
    fact = SessionFact(
        target=target,
        address=address,
        port=port,
        state=_read(folder / "state"),
        device_path=device_path_of(target, address, port) if disk is not None else "",
        disk=names[0] if names else "",
        unit_serial=parse_serial((unit / "vpd_pg80").read_bytes())
        if disk is not None and unit is not None
        else "",
        size_bytes=int(_read(disk / "size")) * _SECTOR_BYTES if disk is not None else 0,
        is_read_only=disk is not None and _read(disk / "ro") == "1",
    )
    return KernelSession(fact, folder, device.parent.name, disk)


def _read(path: Path) -> str:
    return path.read_text("ascii", "replace").strip()


# --- the node record of a target in open-iscsi: its settings and secrets ---------------------------------------------
# iscsiadm accepts settings as arguments only, which every user can read in /proc. So iscsiadm creates the record, and
# the settings are written into its file, which is replaced atomically with mode 0600.


# Debian, RHEL
_FOLDERS = (Path("/etc/iscsi/nodes"), Path("/var/lib/iscsi/nodes"))
_END = "# END RECORD"

_ALWAYS: Dict[str, Optional[str]] = {
    "node.startup": "manual",
    "node.leading_login": "No",
    "node.conn[0].startup": "manual",
    "node.session.scan": "manual",
    "node.session.nr_sessions": "1",
    "node.session.reopen_max": "0",
    # with a timeout, a failed read below a snapshot would invalidate it
    "node.session.timeo.replacement_timeout": "-1",
    "node.session.initial_login_retry_max": "2",
    "node.conn[0].timeo.login_timeout": "10",
    "node.conn[0].timeo.logout_timeout": "10",
    "node.conn[0].timeo.noop_out_interval": "5",
    "node.conn[0].timeo.noop_out_timeout": "5",
}


def record_settings(spec: SessionSpec) -> Dict[str, Optional[str]]:
    """Settings of the record; None for settings that must be absent."""
    chap = spec.chap
    return {
        **_ALWAYS,
        "node.session.auth.authmethod": "None" if chap is None else "CHAP",
        "node.session.auth.chap_algs": "SHA3-256,SHA256,SHA1,MD5",
        "node.session.auth.username": None if chap is None else chap.user,
        "node.session.auth.password": None if chap is None else chap.password,
        "node.session.auth.username_in": None if chap is None else chap.mutual_user,
        "node.session.auth.password_in": None if chap is None else chap.mutual_password,
    }


def edit_record(text: str, settings: Mapping[str, Optional[str]]) -> str:
    """The record with these settings replaced or added. ToolError when its end is missing."""
    lines = text.splitlines()
    if _END not in lines:
        raise ToolError("iscsiadm left a node record without its end")
    others = [line for line in lines if line.partition("=")[0].strip() not in settings]
    added = [f"{name} = {value}" for name, value in settings.items() if value is not None]
    end = others.index(_END)
    return "\n".join([*others[:end], *added, *others[end:]]) + "\n"


def find_record(spec: SessionSpec) -> Optional[Path]:
    """The file of the record, or None.

    Before the first login the portal group number is unknown, and the record is a single file.
    """
    name = f"{spec.address},{spec.port}"
    return next(
        (path for folder in _FOLDERS for path in [folder / spec.target / name] if path.is_file()), None
    )


def write_settings(path: Path, settings: Mapping[str, Optional[str]]) -> None:
    """Write the settings atomically; only root can read the file. HostError when it cannot be written."""
    try:
        text = path.read_text("utf-8")
        edited = edit_record(text, settings)
        if edited == text and path.stat().st_mode & 0o077 == 0:
            return
        with draft(path, beside=_beside(path.parents[1], path.parent.name)) as new:
            new.write(edited)
    except OSError as error:
        raise HostError(f"cannot write the node record {path}: {error.strerror}") from None


def remove_temporary_record(target: str) -> None:
    """Remove the draft of a killed process, which may contain secrets."""
    for folder in _FOLDERS:
        remove_drafts(_beside(folder, target))


def _beside(folder: Path, target: str) -> Path:
    """Names the draft: beside the folder of records, since iscsiadm would read a draft inside it as a record."""
    return folder.parent / f"rocks-{target}"


# --- users of a disk: devices stacked on it, processes that opened it, the kernel ------------------------------------


_PROCESSES = Path("/proc")


def find_users(disk_folder: Path, may_open: bool) -> List[str]:
    """Descriptions of the users; empty when unused. `disk_folder` is below /sys/block.

    `may_open`: open the disk to detect other exclusive use by the kernel, such as swap space; this can block while the
    NAS is down.
    """
    numbers = _numbers(disk_folder)
    users = _holders(disk_folder) + _processes(numbers) + _mounts(numbers)
    if not users and may_open and _is_claimed(disk_folder.name):
        users.append("the kernel (mounted elsewhere, or as swap space)")
    return users


def find_used(disks: Mapping[str, Path]) -> Set[str]:
    """The names of the disks that have users, as `find_users` finds them without opening them; one look for all."""
    opened: Set[Optional[str]] = {number for number, _ in _mounted()}
    for process in _PROCESSES.iterdir() if disks else ():
        if process.name.isdigit():
            opened |= _open_devices(process)
    return {name for name, folder in disks.items() if _holders(folder) or _numbers(folder) & opened}


def _holders(disk_folder: Path) -> List[str]:
    """Devices stacked on the disk or its partitions; device-mapper devices by name."""
    found = []
    for holder in sorted(
        (*disk_folder.glob("holders/*"), *disk_folder.glob(f"{disk_folder.name}*/holders/*"))
    ):
        name = text_if_readable(holder / "dm/name")
        found.append(f"the device {name or holder.name}")
    return found


def _numbers(disk_folder: Path) -> Set[Optional[str]]:
    """`major:minor` of the disk and of its partitions."""
    places = (disk_folder / "dev", *disk_folder.glob(f"{disk_folder.name}*/dev"))
    return {text_if_readable(place) for place in places}


def _mounts(numbers: Set[Optional[str]]) -> List[str]:
    """Where the disk or a partition of it is mounted."""
    return [f"the mount at {place}" for number, place in _mounted() if number in numbers]


def _mounted() -> List[Tuple[str, str]]:
    """Device and place of each mount (proc(5): /proc/pid/mountinfo). Odd names of places may end a line."""
    lines = text_if_readable(_PROCESSES / "self/mountinfo").split("\n")
    return [(it[2], it[4]) for it in (line.split(" ") for line in lines) if len(it) > 4]


def _processes(numbers: Set[Optional[str]]) -> List[str]:
    """Processes that have opened the disk or a partition of it."""
    found = []
    for process in _PROCESSES.iterdir():
        if process.name.isdigit() and numbers & _open_devices(process):
            found.append(f"process {process.name} ({text_if_readable(process / 'comm')})")
    return sorted(found)


def _open_devices(process: Path) -> Set[Optional[str]]:
    try:
        links = list((process / "fd").iterdir())
    except OSError:
        return set()
    return {_device_number(link) for link in links}


def _device_number(link: Path) -> Optional[str]:
    """`major:minor` of an open block device. Only paths below /dev: stat of a file on a lost server would block."""
    try:
        if not str(link.readlink()).startswith("/dev/"):
            return None
        status = link.stat()
    except OSError:
        return None
    if not stat.S_ISBLK(status.st_mode):
        return None
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def _is_claimed(disk: str) -> bool:
    try:
        descriptor = os.open(f"/dev/{disk}", os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK)
    except OSError as error:
        return error.errno == errno.EBUSY
    os.close(descriptor)
    return False


# --- settings of a session and its disk in sysfs ---------------------------------------------------------------------
# Some writes wait for the NAS and cannot be interrupted. A child process does them, which can be abandoned; it ends
# with the session at the latest.


_POLL_SECONDS = 0.02
_COMMAND_SECONDS = "180"
_NO_RETRY_LIMIT = "-1"
_LUN_0 = "- - 0"
_OFF = "off"


def scan_disk(session: KernelSession, deadline_seconds: float) -> None:
    """Scan the target for LUN 0 only."""
    write_within(SYSTEM / "class/scsi_host" / session.host / "scan", _LUN_0, deadline_seconds)


def read_disk_again(session: KernelSession, deadline_seconds: float) -> None:
    """Have the kernel ask the target for size and write protection, after it has ended its first questions."""
    if session.disk_folder is not None:
        write_within(session.disk_folder / "device/rescan", "1", deadline_seconds)


def detach_disk(session: KernelSession, deadline_seconds: float) -> None:
    """Flush and remove the disk."""
    if session.disk_folder is not None:
        write_within(session.disk_folder / "device/delete", "1", deadline_seconds)


def wait_without_limit(session: KernelSession) -> None:
    """Let I/O wait for a lost NAS without limit, and disable shorter SCSI timeouts.

    A session that is down rejects some settings, but has them since its login. ToolError when a session that is up
    does not accept them.
    """
    if not _set(session.folder / "recovery_tmo", _OFF) and session.fact.state == LOGGED_IN:
        raise ToolError(
            f"the kernel of this host did not disable the replacement timeout of {session.fact.target}, so losing the "
            "NAS would invalidate a snapshot above its disk"
        )
    _set(SYSTEM / "class/scsi_host" / session.host / "eh_deadline", _OFF)
    if session.disk_folder is not None:
        _set(session.disk_folder / "device/timeout", _COMMAND_SECONDS)
        for disk in session.disk_folder.glob("device/scsi_disk/*"):
            # else a retried request fails after six timeouts (scsi_cmd_runtime_exceeced)
            _set(disk / "max_retries", _NO_RETRY_LIMIT)


def write_within(path: Path, text: str, deadline_seconds: float) -> bool:
    """Whether the kernel accepted the value in time; a blocked child process is abandoned."""
    process = start_with_pipes(["tee", str(path)])
    pipes = [pipe for pipe in (process.stdin, process.stdout, process.stderr) if pipe is not None]
    try:
        pipes[0].write(text.encode())
        pipes[0].close()
        deadline = Deadline(deadline_seconds)
        while process.poll() is None:
            if deadline.passed():
                process.kill()
                return False
            wait_seconds(_POLL_SECONDS)
        return process.returncode == 0
    finally:
        for pipe in pipes:
            pipe.close()


def _set(path: Path, value: str) -> bool:
    """Whether the file has the value afterwards."""
    try:
        if path.read_text("ascii").strip() != value:
            path.write_text(value, "ascii")
        return path.read_text("ascii").strip() == value
    except OSError:
        return False


# --- login and logout by iscsiadm ------------------------------------------------------------------------------------


_LOGIN_SECONDS = 90.0
_LOGOUT_SECONDS = 60.0
_SHORT_SECONDS = 20.0
_LOGIN_POLL_SECONDS = 0.05
_SESSION_EXISTS = 15
_NOTHING_FOUND = 21


def find_session(target: str) -> Optional[KernelSession]:
    """The session of a target, or None. IncoherentError when there are several."""
    sessions = all_sessions(target)
    check_one_session(target, len(sessions))
    return sessions[0] if sessions else None


def all_sessions(target: str) -> List[KernelSession]:
    """All sessions of a target."""
    return [session for session in read_kernel_sessions() if session.fact.target == target]


def ensure_record(spec: SessionSpec) -> None:
    """Create the node record if it is missing, and write the settings of the spec."""
    path = find_record(spec)
    if path is None:
        _iscsiadm(spec.target, "--portal", _portal(spec), "--op", "new")
        path = find_record(spec)
    if path is None:
        raise ToolError(f"iscsiadm created no node record for {spec.target} at {_portal(spec)}")
    write_settings(path, record_settings(spec))


def log_in(spec: SessionSpec) -> None:
    """Log in. HostError, StateError or ToolError on failure, after session and record were removed."""
    try:
        arguments = ("--portal", _portal(spec), "--login")
        finished = _run(spec.target, *arguments, deadline_seconds=_LOGIN_SECONDS)
        if finished.exit_status not in (0, _SESSION_EXISTS):
            raise login_error(spec, finished.exit_status, _reason(finished))
    except (HostError, StateError, ToolError):
        for session in all_sessions(spec.target):
            log_out(session)
        forget(spec.target)
        raise


def log_out(session: KernelSession) -> None:
    """Log out by session number, which needs no node record."""
    number = session.folder.name[len("session") :]
    arguments = ["iscsiadm", "--mode", "session", "--sid", number, "--logout"]
    finished = run(arguments, deadline_seconds=_LOGOUT_SECONDS)
    deadline = Deadline(_SHORT_SECONDS)
    while any(each.folder == session.folder for each in all_sessions(session.fact.target)):
        if deadline.passed():
            raise ToolError(
                f"this host did not log out of {session.fact.target}, "
                f"exit status {finished.exit_status}: {_reason(finished)}"
            )
        wait_seconds(_LOGIN_POLL_SECONDS)


def forget(target: str) -> bool:
    """Delete the node record with its secrets; whether it existed."""
    remove_temporary_record(target)
    finished = _run(target, "--op", "delete", deadline_seconds=_SHORT_SECONDS)
    if finished.exit_status not in (0, _NOTHING_FOUND):
        raise ToolError(f"iscsiadm did not delete the node record of {target}: {_reason(finished)}")
    return finished.exit_status == 0


def _iscsiadm(target: str, *operation: str) -> None:
    finished = _run(target, *operation, deadline_seconds=_SHORT_SECONDS)
    if finished.exit_status != 0:
        raise ToolError(
            f"Error executing iscsiadm: {' '.join(operation)} for {target} failed: {_reason(finished)}"
        )


def _run(target: str, *operation: str, deadline_seconds: float) -> Finished:
    arguments = ["iscsiadm", "--mode", "node", "--targetname", target, *operation]
    return run(arguments, deadline_seconds=deadline_seconds)


def _portal(spec: SessionSpec) -> str:
    return f"{spec.address}:{spec.port}"


def _reason(finished: Finished) -> str:
    """The line with the reported error, else the last line."""
    lines = (finished.error_text or finished.text.strip()).splitlines() or ["it printed nothing"]
    return next((line for line in lines if "reported error" in line), lines[-1])


# --- the sessions of this host ---------------------------------------------------------------------------------------


_INITIATOR_FILE = Path("/etc/iscsi/initiatorname.iscsi")
_FREE_SECONDS = 3.0
_SETTLE_SECONDS = 2.0
_SESSION_POLL_SECONDS = 0.05


class Sessions:
    """The iSCSI sessions of this machine. What is not documented here is in `SessionDriver`."""

    def read_initiator(self) -> str:
        try:
            return parse_initiator(_INITIATOR_FILE.read_text("utf-8", "replace"))
        except FileNotFoundError:
            return parse_initiator("")

    def read_sessions(self) -> Tuple[SessionFact, ...]:
        return tuple(session.fact for session in read_kernel_sessions())

    def used_targets(self) -> Set[str]:
        sessions = read_kernel_sessions()
        return find_used(
            {one.fact.target: one.disk_folder for one in sessions if one.disk_folder is not None}
        )

    def ensure_session(self, spec: SessionSpec) -> SessionFact:
        check_session(spec)
        existing = find_session(spec.target)
        if existing is not None:
            check_portal_matches(spec, existing.fact)
        ensure_record(spec)
        if existing is None:
            log_in(spec)
        try:
            return _attach(spec)
        except IncoherentError:
            with contextlib.suppress(RocksError):  # in use: the error of the disk is the one to report
                self.ensure_session_gone(spec.target)
            raise

    def ensure_session_gone(self, target: str) -> Change:
        check_iscsi_name(target)
        sessions = all_sessions(target)
        for session in sessions:
            _require_unused(target, session)
        for session in sessions:
            if session.fact.state == LOGGED_IN:
                detach_disk(session, _SHORT_SECONDS)
            log_out(session)
        had_record = forget(target)
        return CHANGED if sessions or had_record else UNCHANGED


def _attach(spec: SessionSpec) -> SessionFact:
    """Wait for the disk and its by-path link, and check that it matches the spec."""
    session = _wait_for_matching_disk(spec)
    wait_without_limit(session)
    deadline = Deadline(_SHORT_SECONDS)
    while Path(session.fact.device_path).resolve() != Path("/dev") / session.fact.disk:
        if deadline.passed():
            raise ToolError(
                f"udev on this host created no {session.fact.device_path} for /dev/{session.fact.disk}"
            )
        wait_seconds(_SESSION_POLL_SECONDS)
    return session.fact


def _wait_for_matching_disk(spec: SessionSpec) -> KernelSession:
    """IncoherentError when the disk still differs after a short time, and after it was read again.

    While the kernel probes a new disk, it shows the disk as writable; and it takes the disk of a NAS that was too busy
    to answer this question for writable (Linux, drivers/scsi/sd.c: "assume Write Enabled").
    """
    deadline = Deadline(_SETTLE_SECONDS)
    is_read_again = False
    while True:
        session = _wait_for_disk(spec)
        try:
            check_disk(spec, session.fact)
            return session
        except IncoherentError:
            if deadline.passed():
                if is_read_again:
                    raise
                read_disk_again(session, _SHORT_SECONDS)
                is_read_again = True
                deadline = Deadline(_SETTLE_SECONDS)
        wait_seconds(_SESSION_POLL_SECONDS)


def _wait_for_disk(spec: SessionSpec) -> KernelSession:
    deadline = Deadline(_SHORT_SECONDS)
    has_scanned = False
    while True:
        session = find_session(spec.target)
        if session is not None and session.disk_folder is not None:
            return session
        if session is not None and session.fact.state == LOGGED_IN and not has_scanned:
            scan_disk(session, _SHORT_SECONDS)
            has_scanned = True
        elif deadline.passed():
            raise no_disk(spec)
        else:
            wait_seconds(_SESSION_POLL_SECONDS)


def _require_unused(target: str, session: KernelSession) -> None:
    """StateError when the disk is still in use after a short time: udev opens every new disk."""
    if session.disk_folder is None:
        return
    deadline = Deadline(_FREE_SECONDS)
    while True:
        users: List[str] = find_users(session.disk_folder, may_open=session.fact.state == LOGGED_IN)
        if not users:
            return
        if deadline.passed():
            raise in_use(target, users)
        wait_seconds(_SESSION_POLL_SECONDS)
