"""Who calls a command, from where, and what a caller behind sudo may do. Every command imports it: it is light."""
# ruff: noqa: PTH123 - pathlib would cost every command its start-up time

from __future__ import annotations

import os
from typing import NamedTuple

from rocks.core.errors import UserError

_SOURCE = "ROCKS_SOURCE"
"""The variable in which a service states that it is the source of what it has root do: `nucleus`."""

_NO_LOGIN = str(2**32 - 1)
_MAX_PARENTS = 12
_LONGEST_ENVIRONMENT = 256 * 1024
_SSH = (b"SSH_CLIENT=", b"SSH_CONNECTION=")

_UMASK = 0o022
_LEAST_FILES, _LEAST_STACK_BYTES = 1024, 8 * 1024**2
_ANY_COMMAND = ("run", "host")
"""A person who may run this command of `rocks` may run any program as root on every host."""
_SUDO_SECONDS = 60.0


class Caller(NamedTuple):
    """The account of this process, and the people behind it."""

    account: str
    """The account with whose rights the command runs."""
    sudo: str
    """The caller of sudo; ''  without one."""
    login: str
    """The user ID of the login, which the kernel keeps over su and sudo; '' without a login."""

    @property
    def service(self) -> str:
        """The service that calls; '' for a person. Who has logged in, or uses sudo, cannot pass for one."""
        return "" if self.login or self.sudo else "nucleus" * (os.environ.get(_SOURCE) == "nucleus")

    @property
    def person(self) -> str:
        """The service; else the person: of the login, else behind sudo, else the account.

        Another caller of sudo is named too.
        """
        if self.service:
            return self.service
        first = user_name(int(self.login)) if self.login else self.sudo or self.account
        return first if self.sudo in ("", first) else f"{first} (sudo {self.sudo})"


def find_caller() -> Caller:
    """The caller of this process."""
    return Caller(user_name(os.geteuid()), os.environ.get("SUDO_USER", ""), _login())


def find_origin() -> str:
    """From where the caller came: the address of its SSH client and its terminal, each if there is one.

    sudo removes the variable with the address, so the environments of the parents are searched. Users can write into
    their own environment: the address is what the session states.
    """
    return " ".join(filter(None, (_ssh_client(), _terminal())))


def settle_process() -> None:
    """Reset what root's process inherits from its caller. UserError for a limit that cannot be raised.

    sudo (1.9.13) hands over a stricter umask, all limits, and ignored signals. Where SIGCHLD is ignored, `subprocess`
    reports a program that failed as one that succeeded: also the fence command of a host that runs.
    """
    if os.geteuid() != 0:
        return
    import signal

    os.umask(_UMASK)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if _is_behind_sudo():
        _raise_limits()


def check_full_rights(what: str) -> None:
    """UserError for a person behind sudo who may not run every command of `rocks`; `what` begins the sentence.

    sudo itself is asked, so a site's own rules count. The variables are sudo's; root may remove them.
    """
    if not _is_behind_sudo():
        return
    from rocks.core import dry_run, process

    person = os.environ.get("SUDO_USER", "")
    launcher = os.environ.get("ROCKS_LAUNCHER") or "/opt/rocks/bin/rocks"
    asked = ["sudo", "-n", "-l", "-U", person, "--", launcher, *_ANY_COMMAND]
    with dry_run.reading():
        found = process.run(asked, deadline_seconds=_SUDO_SECONDS)
    if found.exit_status != 0:
        raise UserError(
            f"{what} is for root and members of rocks-administer, and {person} is neither; nothing was changed"
        )


def _is_behind_sudo() -> bool:
    return os.environ.get("SUDO_UID", "0") != "0"


def _raise_limits() -> None:
    import resource

    endless = resource.RLIM_INFINITY
    least = dict.fromkeys(("FSIZE", "CPU", "AS", "DATA"), endless)
    for name, value in {**least, "NOFILE": _LEAST_FILES, "STACK": _LEAST_STACK_BYTES}.items():
        limit = getattr(resource, f"RLIMIT_{name}")
        soft, hard = resource.getrlimit(limit)
        if soft == endless or soft >= value != endless:
            continue
        high = endless if endless in (value, hard) else max(hard, value)
        try:
            resource.setrlimit(limit, (value, high))
        except (OSError, ValueError):
            raise UserError(
                f"the limit {name} of your session is too low, and cannot be raised here: sign in anew, or raise it "
                "(ulimit, limits.conf)"
            ) from None


def user_name(number: int) -> str:
    """The name of a user ID; the ID itself where no account has it."""
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except (KeyError, OverflowError):
        return str(number)


def _login() -> str:
    """The login UID of this process (pam_loginuid); empty without one."""
    try:
        with open("/proc/self/loginuid", encoding="utf-8") as file:
            number = file.read(16).strip()
    except OSError:
        return ""
    return "" if number == _NO_LOGIN or not number.isdecimal() else number


def _terminal() -> str:
    for descriptor in (0, 2, 1):
        try:
            return os.ttyname(descriptor).removeprefix("/dev/")
        except OSError:
            continue
    return ""


def _ssh_client() -> str:
    own = os.environ.get("SSH_CLIENT", "").split()
    if own:
        return own[0]
    process = os.getppid()
    for _ in range(_MAX_PARENTS):
        address = _address_in(process)
        if address:
            return address
        process = _parent(process)
        if process <= 1:
            break
    return ""


def _address_in(process: int) -> str:
    """The address of the SSH client in the environment with which a process was started; '' without one."""
    try:
        with open(f"/proc/{process}/environ", "rb") as file:
            variables = file.read(_LONGEST_ENVIRONMENT).split(b"\0")
    except OSError:
        return ""
    for variable in variables:
        if variable.startswith(_SSH):
            first = variable.partition(b"=")[2].split()[:1]
            return first[0].decode("ascii", "replace") if first else ""
    return ""


def _parent(process: int) -> int:
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return int(file.read(1024).rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
