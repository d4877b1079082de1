"""A unix socket of this machine that leads to a socket of a host, over SSH."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from rocks.core.clock import Deadline
from rocks.core.errors import HostError
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.fleet.local import PipeStream
from rocks.fleet.openssh import ssh_arguments

_MARGIN_SECONDS = 5.0
_END_SECONDS = 5.0


class Tunnel:
    """`ssh` that carries the socket `path` of this machine to `far_end` on the host."""

    def __init__(self, host: HostAddress, far_end: str, path: str, settings: FleetSettings) -> None:
        self.path = path
        self._host = host.name
        # sshd repeats what it reads: the answer states that the tunnel is open, the end of the input closes it
        # of its own: a shared connection of the operator's (ControlMaster) would hold the socket after the end
        options = ("-S", "none", "-o", "ExitOnForwardFailure=yes", "-L", f"{path}:{far_end}")
        self._ssh = PipeStream([*ssh_arguments(host, settings, options), "cat"])

    def wait_until_open(self, deadline_seconds: float) -> None:
        """HostError when the tunnel is not open in time."""
        deadline = Deadline(deadline_seconds)
        try:
            with contextlib.suppress(BrokenPipeError):
                self._ssh.send(b"\n", deadline)
            answer = self._ssh.receive(deadline)
        except TimeoutError:
            raise HostError(
                f"{self._host} did not open the way to the screen within {deadline_seconds:g} s: check that"
                f" `ssh {self._host} true` answers, and run the command again"
            ) from None
        if not answer:
            _, printed = self._ssh.exit_information()
            reason = printed.decode("utf-8", "replace").strip().replace("\n", "; ")
            raise HostError(
                f"{self._host} did not open the way to the screen: {reason or 'ssh gave no reason'}; check that"
                f" `ssh {self._host} true` answers, and that the machine still runs"
            )

    def wait(self) -> None:
        """Wait until the connection to the host ends: HostError."""
        while self._ssh.receive(Deadline(None)):
            pass
        raise HostError(
            f"the connection to {self._host} has ended, and the way to the screen with it; run the command again"
        )

    def close(self) -> None:
        """End the tunnel, also when a viewer holds its connection."""
        self._ssh.close()
        self._ssh.collect(Deadline(_END_SECONDS))


@contextmanager
def open_tunnel(host: HostAddress, far_end: str, runtime_folder: str) -> Iterator[Tunnel]:
    """A socket in a new folder, which only this user reaches, for `far_end`, a socket of the host.

    Closed and removed afterwards, also the tunnel when this process is killed. HostError when it cannot be opened.
    """
    settings = FleetSettings()
    try:
        new = TemporaryDirectory(prefix="rocks-console-", dir=runtime_folder, ignore_cleanup_errors=True)
    except OSError as error:
        raise HostError(
            f"cannot make a folder in {runtime_folder} of this machine: {error.strerror}"
        ) from None
    with new as folder:  # of mode 0700
        tunnel = Tunnel(host, far_end, f"{folder}/socket", settings)
        try:
            tunnel.wait_until_open(
                settings.connect_deadline_seconds + settings.login_deadline_seconds + _MARGIN_SECONDS
            )
            yield tunnel
        finally:
            tunnel.close()
