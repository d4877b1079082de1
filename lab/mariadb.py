"""A private MariaDB of this machine: unix socket only, own data folder, a user id of its own."""

from __future__ import annotations

import os
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from lab import processes
from rocks.core.errors import HostError, StateError, ToolError
from rocks.core.process import run_checked, start_in_background

USER_ID = 64780
"""The user and group id the server runs under: one without a name, in a range that Debian assigns to no user."""

INITIALISE_SECONDS = 120
LONGEST_SOCKET_PATH = 107
"""The kernel's limit for the path of a unix socket (unix(7): 108 bytes with the closing zero)."""

_SMALL = (
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=48M",
    "--aria-pagecache-buffer-size=8M",
    "--key-buffer-size=1M",
    "--performance-schema=OFF",
    "--max-connections=200",
)
_RULES = (
    "--skip-networking",
    "--skip-name-resolve",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_general_ci",
    "--local-infile=OFF",
    "--event-scheduler=ON",  # it ends long statements of readers
)


@dataclass(frozen=True)
class MariadbPlace:
    """Where one server lives.

    `data_folder` is made by `ensure_initialised`, with mode 0700 and owned by `user_id`; the folder of
    `socket_path` is made and given to `user_id` too, for the server makes the socket itself. `log_path` and
    `pid_path` are the starter's own. All folders above must let other users pass (mode x).
    """

    data_folder: Path
    socket_path: Path
    log_path: Path
    pid_path: Path
    user_id: int = USER_ID


def ensure_initialised(place: MariadbPlace) -> bool:
    """Make the data folder with the server's own tables, unless it is there; returns whether it was made.

    It is made under another name and renamed when complete, so that an interrupted attempt leaves nothing
    half. root comes in by unix_socket and owns everything; there are no other accounts. StateError when
    `user_id` could not get to the folder, ToolError with the program's error when it fails.
    """
    if place.data_folder.exists():
        return False
    place.data_folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    _check_passable(place.data_folder.parent)
    new = place.data_folder.with_name(place.data_folder.name + ".new")
    if new.exists():
        shutil.rmtree(new)
    new.mkdir(mode=0o700)
    os.chown(new, place.user_id, place.user_id)
    run_checked(
        [
            *_as_user(place.user_id),
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={new}",
            f"--tmpdir={_make_temporary_folder(place)}",
            "--auth-root-authentication-method=socket",
            "--auth-root-socket-user=root",
            "--skip-test-db",
            "--skip-name-resolve",
            *_SMALL,
        ],
        deadline_seconds=INITIALISE_SECONDS,
    )
    new.rename(place.data_folder)
    return True


def start(place: MariadbPlace, deadline_seconds: float = 60, ends_with_starter: bool = False) -> int:
    """Have the server running and answering at its socket; returns its process id, also when it ran before.

    `ends_with_starter`: the kernel ends it (SIGTERM) when the process that called this is gone; for tests.
    StateError when the data folder is missing, ToolError with the end of the log when the server ends at
    once, HostError when it does not answer in time (it is stopped then).
    """
    running = processes.read_record(place.pid_path) or _launch(place, ends_with_starter)
    end = time.monotonic() + deadline_seconds
    while not _answers(place.socket_path):
        if processes.wait_until_ended(running, 0.02):
            place.pid_path.unlink(missing_ok=True)
            raise ToolError(f"mariadbd ended at once; the end of {place.log_path}: {_last_output(place)}")
        if time.monotonic() > end:
            stop(place)
            raise HostError(
                f"mariadbd did not answer at {place.socket_path} within {deadline_seconds:g} s"
                f" and was stopped; see {place.log_path}"
            )
    return running.process_id


def stop(place: MariadbPlace, deadline_seconds: float = 30) -> bool:
    """End the server, gently and after `deadline_seconds` by force; returns whether there was one to end.

    Only the process that `start` recorded is touched: one that got its number later is not it.
    """
    running = processes.read_record(place.pid_path)
    if running is not None:
        processes.end([running], deadline_seconds)
    place.pid_path.unlink(missing_ok=True)
    place.socket_path.unlink(missing_ok=True)
    return running is not None


def running_process(place: MariadbPlace) -> int | None:
    """The process id of the server that `start` started, while it runs; None otherwise."""
    running = processes.read_record(place.pid_path)
    return None if running is None else running.process_id


def _launch(place: MariadbPlace, ends_with_starter: bool) -> processes.ProcessIdentity:
    if not place.data_folder.is_dir():
        raise StateError(f"there is no database in {place.data_folder}: initialise it first")
    if len(os.fsencode(place.socket_path)) > LONGEST_SOCKET_PATH:
        raise StateError(
            f"{place.socket_path} is too long for a socket: {LONGEST_SOCKET_PATH} bytes are allowed"
        )
    place.socket_path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    os.chown(place.socket_path.parent, place.user_id, place.user_id)
    _check_passable(place.socket_path.parent)
    no_files = place.socket_path.parent / "no-files"
    no_files.mkdir(mode=0o700, exist_ok=True)
    arguments = [
        *_as_user(place.user_id, *(["--pdeathsig", "SIGTERM"] if ends_with_starter else [])),
        "mariadbd",
        "--no-defaults",
        f"--datadir={place.data_folder}",
        f"--tmpdir={_make_temporary_folder(place)}",
        f"--socket={place.socket_path}",
        f"--pid-file={place.data_folder / 'mariadbd.pid'}",
        f"--secure-file-priv={no_files}",  # SELECT … INTO OUTFILE may write only where the server cannot
        *_RULES,
        *_SMALL,
    ]
    running = processes.identify(start_in_background(arguments, place.log_path))
    if running is None:
        raise ToolError(f"mariadbd could not be started; the end of {place.log_path}: {_last_output(place)}")
    processes.write_record(place.pid_path, running)
    return running


def _make_temporary_folder(place: MariadbPlace) -> Path:
    # Not /tmp: a server that starts deletes the temporary tables that it finds there, another server's as well.
    folder = place.data_folder.with_name(place.data_folder.name + ".temporary")
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(folder, place.user_id, place.user_id)
    return folder


def _as_user(user_id: int, *options: str) -> list[str]:
    # mariadbd --user takes a number only if the machine has a user of that number, so setpriv changes to it
    identity = [f"--reuid={user_id}", f"--regid={user_id}", "--clear-groups"]
    return ["setpriv", *identity, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", *options, "--"]


def _check_passable(folder: Path) -> None:
    for step in (folder, *folder.parents):
        if not step.stat().st_mode & 0o001:
            raise StateError(
                f"the database server, a user of its own, cannot pass {step}: run `chmod o+x {step}`"
            )


def _answers(socket_path: Path) -> bool:
    """Whether a server answers; MariaDB sends first."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        try:
            client.connect(str(socket_path))
            return bool(client.recv(1))
        except OSError:
            return False


def _last_output(place: MariadbPlace) -> str:
    lines = place.log_path.read_text(errors="replace").splitlines() if place.log_path.exists() else []
    errors = [line for line in lines[-40:] if "[ERROR]" in line] or lines[-1:]
    return " / ".join(errors[-3:]) or "none"
