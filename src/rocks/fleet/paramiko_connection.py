"""SSH connections to hosts with known keys: their agents, and commands of the user."""

from __future__ import annotations

import contextlib
import errno
import select
import shlex
import socket
from collections.abc import Collection

from rocks.core import dry_run
from rocks.core.clock import Deadline
from rocks.core.errors import HostError
from rocks.fleet.agent_line import AgentLine, AnsweringError
from rocks.fleet.connection import (
    BoundedBuffer,
    CannotAskError,
    CommandOutput,
    DownError,
    FleetSettings,
    HostAddress,
    NoAddressError,
    command_output,
    some_seconds,
)
from rocks.fleet.known_hosts import HostKey
from rocks.fleet.paramiko_library import paramiko

_KEEP_ALIVE_SECONDS = 15
_KILLED_LATER_SECONDS = 1.0
_CHUNK_BYTES = 65536
_ENDED_BY_SIGNAL = 255
"""As the program `ssh`; the library does not report the signal."""

_FAILURES = (paramiko.SSHException, EOFError, OSError)
_RSA = ("rsa-sha2-512", "rsa-sha2-256")
"""The signatures of keys of the type ssh-rsa."""

_SOCKETS, _PACKET_FILTER = "ss -s", "nft list ruleset"
_OF_THIS_MACHINE = {
    errno.EMFILE: _SOCKETS,
    errno.ENFILE: _SOCKETS,
    errno.ENOMEM: _SOCKETS,
    errno.ENOBUFS: _SOCKETS,
    errno.EADDRNOTAVAIL: _SOCKETS,
    errno.EACCES: _PACKET_FILTER,
    errno.EPERM: _PACKET_FILTER,
}
"""Errors of connect(2) that say nothing of a host: descriptors, memory, ports or the packet filter of this machine.

With the command that shows the cause.
"""


def load_private_key(path: str, host: str = "HOST") -> paramiko.PKey:
    """The private key of this machine, for a login on the host.

    CannotAskError when it is absent or cannot be read: no host is at fault.
    """
    try:
        return paramiko.Ed25519Key.from_private_key_file(path)
    except FileNotFoundError:
        raise CannotAskError(
            f"this machine has no SSH key in {path}; run `rocks sync host sharedkey {host}`, which makes one"
        ) from None
    except (OSError, paramiko.SSHException, ValueError) as error:
        raise CannotAskError(
            f"this machine cannot read its SSH key in {path} ({error}); restore the file, or move it away: "
            f"`rocks sync host sharedkey {host}` then makes another and installs it"
        ) from None


class LoginRefusedError(AnsweringError):
    """The host presents a known key, but rejects the key of this machine."""


class SshConnection:
    """One SSH connection, opened at its first use and then reused until it breaks.

    `known_keys` are the keys that the host may present. Not safe for several threads.
    """

    def __init__(
        self,
        host: HostAddress,
        settings: FleetSettings,
        private_key: paramiko.PKey,
        known_keys: tuple[HostKey, ...],
    ) -> None:
        self._host = host
        self._settings = settings
        self._private_key = private_key
        self._known_keys = known_keys
        self._transport: paramiko.Transport | None = None

    def open_agent(self) -> AgentLine:
        """As `Connection.open_agent`."""
        channel = self._start(self._settings.agent_program + " --serve")
        return AgentLine(self._host.name, _ChannelStream(channel))

    def run(self, command: str, timeout_seconds: float | None, standard_input: bytes = b"") -> CommandOutput:
        """As `Connection.run`."""
        channel = self._start(_in_bash(command, timeout_seconds))
        try:
            if standard_input:
                channel.settimeout(timeout_seconds)
                channel.sendall(standard_input)
            return _collect(channel, Deadline(timeout_seconds))
        except _FAILURES as error:
            raise HostError(f"the connection to host {self._host.name} broke: {_message(error)}") from None
        finally:
            channel.close()

    def close(self) -> None:
        """As `Connection.close`."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _start(self, command: str) -> paramiko.Channel:
        deadline = Deadline(self._settings.login_deadline_seconds)
        before = self._transport
        transport = self._ready_transport(deadline)
        try:
            channel = transport.open_session(timeout=some_seconds(deadline))
            channel.settimeout(some_seconds(deadline))
            channel.exec_command(command)
            return channel
        except _FAILURES as error:
            self.close()
            # a host that has just accepted the login, or refuses by a message, is on; an older connection may be lost
            answers = transport is not before or isinstance(error, paramiko.ChannelException)
            kind = AnsweringError if answers else HostError
            raise kind(f"host {self._host.name} did not start a program: {_message(error)}") from None

    def _ready_transport(self, deadline: Deadline) -> paramiko.Transport:
        if self._transport is None or not self._transport.is_active():
            self.close()
            self._transport = self._log_in(deadline)
        return self._transport

    def _log_in(self, deadline: Deadline) -> paramiko.Transport:
        transport = start_transport(self._host, self._settings, {key.get_name() for key in self._known_keys})
        try:
            # after the connection: a host that is down is reported as down, whether its key is known or not
            if not self._known_keys:
                raise AnsweringError(
                    f"the key of host {self._host.name} is not known here: run "
                    f"`rocks sync host sharedkey {self._host.name}`, which prints its fingerprint and records it"
                )
            check_host_key(self._host, transport, self._known_keys)
            transport.auth_timeout = some_seconds(deadline) or 0.0
            transport.auth_publickey(self._settings.user, self._private_key)
            transport.set_keepalive(_KEEP_ALIVE_SECONDS)
            return transport
        except BaseException as error:
            transport.close()
            if isinstance(error, _FAILURES):
                raise self._login_error(error, deadline) from None
            raise

    def _login_error(self, error: Exception, deadline: Deadline) -> HostError:
        if isinstance(error, paramiko.AuthenticationException) and not deadline.passed():
            return LoginRefusedError(
                f"host {self._host.name} does not accept the key of this machine for {self._settings.user}: run "
                f"`rocks sync host sharedkey {self._host.name}`, which installs it there"
            )
        return HostError(f"login on host {self._host.name} failed: {_message(error)}")


def start_transport(
    host: HostAddress, settings: FleetSettings, preferred_types: Collection[str] = ()
) -> paramiko.Transport:
    """A connection after its key exchange, before any login; host keys of the preferred types come first.

    DownError when no SSH server answers at the address, AnsweringError when the key exchange fails, CannotAskError when
    this machine cannot try to connect.
    """
    host.check()
    reached = Deadline(settings.connect_deadline_seconds)
    connected = _connect(host, settings, reached)
    transport = paramiko.Transport(connected)
    try:
        transport.banner_timeout = some_seconds(reached) or 0.0
        transport.handshake_timeout = settings.login_deadline_seconds
        _choose_algorithms(transport, preferred_types)
        transport.start_client(timeout=settings.login_deadline_seconds)
        if not transport.initial_kex_done:  # the library returns at the deadline without an error
            raise paramiko.SSHException(f"no key exchange within {settings.login_deadline_seconds:g} s")
        return transport
    except _FAILURES as error:
        transport.close()
        if transport.remote_version:
            raise AnsweringError(f"{_place(host)} failed the SSH key exchange: {_message(error)}") from None
        raise DownError(f"{_place(host)} is reached, but no SSH server answers: {_message(error)}") from None


def check_host_key(host: HostAddress, transport: paramiko.Transport, known: tuple[HostKey, ...]) -> None:
    """AnsweringError unless the host presents a known key."""
    presented = transport.get_remote_server_key()  # verified by the key exchange
    if presented in known:
        return
    expected = " or ".join(f"{key.fingerprint} ({key.get_name()})" for key in known)
    raise AnsweringError(
        f"the key of host {host.name} has changed: {expected} is known here, it presents {presented.fingerprint} "
        f"({presented.get_name()}). Compare with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on "
        f"its own console; if the host was installed anew, run `rocks sync host sharedkey {host.name} replace=yes`"
    )


class _ChannelStream:
    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def send(self, data: bytes, deadline: Deadline) -> None:
        self._channel.settimeout(some_seconds(deadline))
        try:
            self._channel.sendall(data)
        except TimeoutError:
            raise
        except OSError as error:
            # Paramiko's for a channel that the other side has closed has no type of its own
            raise BrokenPipeError(str(error)) from None

    def receive(self, deadline: Deadline) -> bytes:
        self._channel.settimeout(some_seconds(deadline))
        return self._channel.recv(_CHUNK_BYTES)

    def exit_information(self) -> tuple[int | None, bytes]:
        self._channel.status_event.wait(1.0)
        self._channel.settimeout(0.2)
        error_output = b""
        with contextlib.suppress(OSError):
            error_output = self._channel.recv_stderr(_CHUNK_BYTES)
        status = self._channel.exit_status
        return (None if status < 0 else status), error_output

    def close(self) -> None:
        self._channel.close()


def _connect(host: HostAddress, settings: FleetSettings, deadline: Deadline) -> socket.socket:
    try:
        with dry_run.reading():
            connected = socket.create_connection((host.address, host.port), timeout=some_seconds(deadline))
    except TimeoutError:
        raise DownError(
            f"{_place(host)} did not answer within {settings.connect_deadline_seconds:g} s; is it up?"
        ) from None
    except OSError as error:
        reason = f"{_place(host)}: {error.strerror or error}"
        if isinstance(error, socket.gaierror):
            raise NoAddressError(
                f"no address of {reason}; repair the name server (/etc/resolv.conf), or record an address: "
                f"rocks add host interface {host.name} IFACE ip=IP subnet=private, or of a recorded interface: "
                f"rocks set host interface ip {host.name} IFACE IP"
            ) from None
        if error.errno in _OF_THIS_MACHINE:
            raise CannotAskError(
                f"this machine cannot connect to {reason}; to see why: {_OF_THIS_MACHINE[error.errno]}"
            ) from None
        raise DownError(f"cannot reach {reason}") from None
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def _choose_algorithms(transport: paramiko.Transport, key_types: Collection[str]) -> None:
    # the types of the known keys first, as OpenSSH does: a host with several keys then presents a known one
    options = transport.get_security_options()
    preferred = {name for kind in key_types for name in (_RSA if kind == "ssh-rsa" else (kind,))}
    options.key_types = sorted(options.key_types, key=lambda name: name not in preferred)
    # X25519 is cheap, and every OpenSSH since 6.5 supports it; the hybrid exchanges cost a wrong guess
    options.kex = sorted(options.kex, key=lambda name: not name.startswith("curve25519"))


def _collect(channel: paramiko.Channel, deadline: Deadline) -> CommandOutput:
    output, error_output = BoundedBuffer(), BoundedBuffer()
    channel.shutdown_write()
    poller = select.poll()
    poller.register(channel.fileno(), select.POLLIN)
    while True:
        ended = channel.eof_received or channel.closed
        while channel.recv_ready():
            output.add(channel.recv(_CHUNK_BYTES))
        while channel.recv_stderr_ready():
            error_output.add(channel.recv_stderr(_CHUNK_BYTES))
        if ended:
            return command_output(_exit_status(channel, deadline), output, error_output)
        remaining = deadline.remaining_seconds()
        if remaining == 0.0:
            return command_output(None, output, error_output)
        poller.poll(None if remaining is None else remaining * 1000 + 1)


def _in_bash(command: str, timeout_seconds: float | None) -> str:
    """The command line for the login shell there, quoted for sh."""
    line = f"bash -c {shlex.quote(command)}"
    if timeout_seconds is None:
        return "exec " + line
    # closing a channel does not end the program, and OpenSSH forwards no signals to programs of root
    return f"exec timeout --signal=KILL {timeout_seconds + _KILLED_LATER_SECONDS:.3f} {line}"


def _exit_status(channel: paramiko.Channel, deadline: Deadline) -> int | None:
    """None at the deadline: the program has closed its output, and runs on."""
    has_ended = channel.status_event.wait(some_seconds(deadline))
    if not has_ended:
        return None
    if channel.exit_status >= 0:
        return channel.exit_status
    if channel.get_transport().is_active():
        return _ENDED_BY_SIGNAL
    raise EOFError("it ended before the command did")


def _place(host: HostAddress) -> str:
    return f"host {host.name} ({host.address} port {host.port})"


def _message(error: BaseException) -> str:
    return str(error).rstrip(".") or type(error).__name__
