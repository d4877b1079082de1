"""The one door to SSH: a connection to a host whose key is known, its agent, commands of the user's own."""

from __future__ import annotations

import contextlib
import logging
import select
import shlex
import socket
import sys

from rocks.clock import Deadline
from rocks.errors import HostError, StateError
from rocks.hosts.agent_line import AgentLine
from rocks.hosts.connection import DownError, Kept, Ran, ran, some_seconds
from rocks.hosts.known_hosts import HostKey
from rocks.hosts.settings import FleetSettings, HostAddress

# paramiko 5 takes `invoke` as optional, for configuration files that we do not read; it costs 40 ms
_hidden = {"invoke"} - set(sys.modules)
sys.modules.update(dict.fromkeys(_hidden))  # type: ignore[arg-type]  # None tells Python "not there"
import paramiko  # noqa: E402, TID251 - this is the door

for _name in _hidden:
    del sys.modules[_name]

# without a handler of ours Python prints the library's warnings on standard error
logging.getLogger("paramiko").addHandler(logging.NullHandler())

_KEEP_ALIVE_SECONDS = 15
_KILLED_LATER_SECONDS = 1.0
_CHUNK_BYTES = 65536
_ENDED_BY_SIGNAL = 255
"""What the program `ssh` says too; the library does not tell which signal it was."""

_FAILURES = (paramiko.SSHException, EOFError, OSError)


def load_private_key(path: str) -> paramiko.PKey:
    """Our key to the hosts. StateError when it is absent, HostError when it cannot be read."""
    try:
        return paramiko.Ed25519Key.from_private_key_file(path)
    except FileNotFoundError:
        raise StateError(
            f"this machine has no key to its hosts in {path}: `rocks sync host sharedkey HOST` makes one"
        ) from None
    except (OSError, paramiko.SSHException, ValueError) as error:
        raise HostError(f"cannot read the key to the hosts in {path}: {error}") from None


class LoginRefusedError(HostError):
    """The host is the right one, but does not let us in with our key."""


class SshConnection:
    """One SSH connection, opened at first need and used for all that follows until it breaks.

    `known_keys` are the keys that the host may show. Not for two threads at once.
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

    def run(self, command: str, timeout_seconds: float | None) -> Ran:
        """As `Connection.run`."""
        channel = self._start(_in_bash(command, timeout_seconds))
        try:
            return _collect(channel, Deadline(timeout_seconds))
        except _FAILURES as error:
            raise HostError(f"the connection to host {self._host.name} broke: {_words(error)}") from None
        finally:
            channel.close()

    def close(self) -> None:
        """As `Connection.close`."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _start(self, command: str) -> paramiko.Channel:
        deadline = Deadline(self._settings.login_deadline_seconds)
        transport = self._ready_transport(deadline)
        try:
            channel = transport.open_session(timeout=some_seconds(deadline))
            channel.settimeout(some_seconds(deadline))
            channel.exec_command(command)
            return channel
        except _FAILURES as error:
            self.close()
            raise HostError(f"host {self._host.name} did not start a program: {_words(error)}") from None

    def _ready_transport(self, deadline: Deadline) -> paramiko.Transport:
        if self._transport is None or not self._transport.is_active():
            self.close()
            self._transport = self._log_in(deadline)
        return self._transport

    def _log_in(self, deadline: Deadline) -> paramiko.Transport:
        transport = start_transport(self._host, self._settings, self._known_keys)
        try:
            # Asked after the host has answered: one that is down is down, whether its key is known or not.
            if not self._known_keys:
                raise HostError(
                    f"the key of host {self._host.name} is not known here: run "
                    f"`rocks sync host sharedkey {self._host.name}`, which shows its fingerprint and records it"
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
                f"host {self._host.name} does not accept our key for {self._settings.user}: run "
                f"`rocks sync host sharedkey {self._host.name}`, which installs it there"
            )
        return HostError(f"login on host {self._host.name} failed: {_words(error)}")


def start_transport(
    host: HostAddress, settings: FleetSettings, preferred: tuple[HostKey, ...] = ()
) -> paramiko.Transport:
    """A connection after its key exchange, before any login; the types of the `preferred` keys come first.

    DownError when nothing at the address speaks SSH, HostError when the two sides do not come to terms.
    """
    reached = Deadline(settings.connect_deadline_seconds)
    connected = _connect(host, settings, reached)
    transport = paramiko.Transport(connected)
    try:
        transport.banner_timeout = some_seconds(reached) or 0.0
        transport.handshake_timeout = settings.login_deadline_seconds
        _choose_algorithms(transport, tuple(key.key_type for key in preferred))
        transport.start_client(timeout=settings.login_deadline_seconds)
        if not transport.initial_kex_done:  # the library returns at the deadline as if all were well
            raise paramiko.SSHException(f"no key exchange within {settings.login_deadline_seconds:g} s")
        return transport
    except _FAILURES as error:
        transport.close()
        if transport.remote_version:
            raise HostError(f"{_place(host)} does not come to terms over SSH: {_words(error)}") from None
        raise DownError(f"{_place(host)} is reached, but no SSH server answers: {_words(error)}") from None


def check_host_key(host: HostAddress, transport: paramiko.Transport, known: tuple[HostKey, ...]) -> None:
    """HostError unless the key that the host has shown is one of those known."""
    shown = shown_host_key(transport)
    if shown in known:
        return
    expected = " or ".join(f"{key.fingerprint} ({key.key_type})" for key in known)
    raise HostError(
        f"the key of host {host.name} has changed: {expected} is known here, it shows {shown.fingerprint} "
        f"({shown.key_type}). Compare with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on "
        f"its own console; if the host was installed anew, run `rocks sync host sharedkey {host.name} replace=yes`"
    )


def shown_host_key(transport: paramiko.Transport) -> HostKey:
    """The key that the host has proven to have."""
    key = transport.get_remote_server_key()
    return HostKey(key.get_name(), key.get_base64())


class _ChannelStream:
    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def send(self, data: bytes, deadline: Deadline) -> None:
        self._channel.settimeout(some_seconds(deadline))
        self._channel.sendall(data)

    def receive(self, deadline: Deadline) -> bytes:
        self._channel.settimeout(some_seconds(deadline))
        return self._channel.recv(_CHUNK_BYTES)

    def exit_information(self) -> tuple[int | None, bytes]:
        self._channel.status_event.wait(1.0)
        self._channel.settimeout(0.2)
        said = b""
        with contextlib.suppress(OSError):
            said = self._channel.recv_stderr(_CHUNK_BYTES)
        status = self._channel.exit_status
        return (None if status < 0 else status), said

    def close(self) -> None:
        self._channel.close()


def _connect(host: HostAddress, settings: FleetSettings, deadline: Deadline) -> socket.socket:
    try:
        connected = socket.create_connection((host.address, host.port), timeout=some_seconds(deadline))
    except TimeoutError:
        raise DownError(
            f"{_place(host)} did not answer within {settings.connect_deadline_seconds:g} s; is it up?"
        ) from None
    except OSError as error:
        raise DownError(f"cannot reach {_place(host)}: {error.strerror or error}") from None
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def _choose_algorithms(transport: paramiko.Transport, key_types: tuple[str, ...]) -> None:
    # the types we know first, as OpenSSH does: a host with several keys then shows the one we can check
    options = transport.get_security_options()
    wanted = {name for key_type in key_types for name in _signatures(key_type)}
    options.key_types = sorted(options.key_types, key=lambda name: name not in wanted)
    # X25519 is cheap, and every OpenSSH since 6.5 has it; the hybrid exchanges cost a guess that fails there
    options.kex = sorted(options.kex, key=lambda name: not name.startswith("curve25519"))


def _signatures(key_type: str) -> tuple[str, ...]:
    return ("rsa-sha2-512", "rsa-sha2-256") if key_type == "ssh-rsa" else (key_type,)


def _collect(channel: paramiko.Channel, deadline: Deadline) -> Ran:
    output, error_output = Kept(), Kept()
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
            return ran(_exit_status(channel, deadline), output, error_output)
        remaining = deadline.remaining_seconds()
        if remaining == 0.0:
            return ran(None, output, error_output)
        poller.poll(None if remaining is None else remaining * 1000 + 1)


def _in_bash(command: str, timeout_seconds: float | None) -> str:
    """The command line for the login shell there, which is taken to quote as sh does."""
    line = f"bash -c {shlex.quote(command)}"
    if timeout_seconds is None:
        return "exec " + line
    # closing a channel leaves the program running, and OpenSSH passes no signals on in a login of root
    return f"exec timeout --signal=KILL {timeout_seconds + _KILLED_LATER_SECONDS:.3f} {line}"


def _exit_status(channel: paramiko.Channel, deadline: Deadline) -> int:
    channel.status_event.wait(some_seconds(deadline))
    if channel.exit_status >= 0:
        return channel.exit_status
    if channel.get_transport().is_active():
        return _ENDED_BY_SIGNAL
    raise EOFError("it ended before the command did")


def _place(host: HostAddress) -> str:
    return f"host {host.name} ({host.address} port {host.port})"


def _words(error: BaseException) -> str:
    return str(error).rstrip(".") or type(error).__name__
