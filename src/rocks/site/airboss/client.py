#!/usr/bin/env python3
"""The owner's side of the remote control of a virtual cluster. One file: Python 3.9 or later, and the program openssl.

The package of the site's frontend has it as /opt/rocks/share/rocks/airboss, to be copied into clusters:

    airboss create keys key=FILE [type=rsa|ed25519] [passphrase=yes]
    airboss list host macs [status=yes]
    airboss set host power HOST… action=on|off|install
    airboss set cluster power action=on|off|install [with-frontend=yes]
    airboss set host cdrom HOST image=NAME|none [boot=first|last]
    airboss open host console HOST [type=serial|vnc]

HOST is a name or a MAC address, as `list host macs` shows them. A setting is a parameter (cluster=vc1), or a line of
~/.airboss or /etc/rocks/airboss.conf:

    server = 10.1.1.1                  the site's frontend: address or name, and :PORT unless that is 8677
    name = head                        its name in its certificate, where that has not the address
    cluster = vc1                      name of the cluster's frontend at the site
    authority = /etc/rocks/site.crt    certificate of the site's authority
    key = /root/airboss.key            private key of the owner

It imports nothing of ours and signs by `openssl`, since an owner's machine may be of any distribution. The
format of a request stands here and in `wire.py`; tests let both talk to each other.
"""

from __future__ import annotations

import base64
import contextlib
import getpass
import hashlib
import json
import os
import select
import shutil
import socket
import ssl
import subprocess  # noqa: TID251 - no other module of ours is where this runs
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

PORT = 8677
SETTINGS_FILES = ("~/.airboss", "/etc/rocks/airboss.conf")
LIST_MACS, POWER, CONSOLE, SCREEN = "list macs", "power", "console", "screen"
CLUSTER_POWER, CDROM = "cluster power", "cdrom"
SETTINGS = ("server", "name", "cluster", "authority", "key")

_HEADING = b"rocks-airboss-1"
_PATH = "/airboss"
_RSA_BITS = 3072
_ANSWER_SECONDS = 75.0
_RETRIES_SECONDS = 120.0
_LONGEST_HEAD, _LONGEST_BODY = 65536, 8 << 20
_LEAVE = b"\x1d"
_PIECE = 16384


class AirbossError(Exception):
    """What the user can act on; the text says what happened."""


class Settings(NamedTuple):
    """Where requests go, for which cluster, and what proves both sides. `name` is that of the server's certificate."""

    server: str
    port: int
    name: str
    cluster: str
    authority: str
    key: str


class Key(NamedTuple):
    """A private key that is ready to sign: its file, its passphrase ('' for none), and its public key (DER)."""

    file: str
    passphrase: str
    public: bytes

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the public key, in hexadecimal."""
        return hashlib.sha256(self.public).hexdigest()


# keys


def create_key(path: str, kind: str, with_passphrase: bool) -> str:
    """Make a private key in a new file of mode 0400; returns the public key, as PEM."""
    kinds = {"rsa": ["RSA", "-pkeyopt", f"rsa_keygen_bits:{_RSA_BITS}"], "ed25519": ["ED25519"]}
    if kind not in kinds:
        raise AirbossError(f'type must be one of {", ".join(kinds)}, not "{kind}"')
    if os.path.lexists(path):
        raise AirbossError(f"the key file '{path}' already exists")
    passphrase = _new_passphrase() if with_passphrase else ""
    protected = ["-aes-256-cbc", "-pass", "stdin"] if passphrase else []
    private = _openssl(["genpkey", "-algorithm", *kinds[kind], *protected], f"{passphrase}\n".encode())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        with os.fdopen(descriptor, "wb") as file:
            file.write(private)
            file.flush()
            os.fsync(descriptor)
    except FileExistsError:
        raise AirbossError(f"the key file '{path}' already exists") from None
    except OSError as error:
        raise AirbossError(f"cannot write the key file '{path}': {error.strerror}") from None
    public = _openssl(["pkey", "-in", path, "-pubout", *_pass(passphrase)], f"{passphrase}\n".encode())
    return public.decode("ascii")


def open_key(path: str) -> Key:
    """The private key of a file; asks for its passphrase at the terminal if it has one."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(65536)
    except OSError as error:
        raise AirbossError(f"can't access the private key '{path}': {error.strerror}") from None
    passphrase = ""
    if b"ENCRYPTED" in text:
        passphrase = _typed(f"Passphrase of {path}: ")
    arguments = ["pkey", "-in", path, "-pubout", "-outform", "DER", *_pass(passphrase)]
    return Key(path, passphrase, _openssl(arguments, f"{passphrase}\n".encode()))


def sign(key: Key, data: bytes) -> bytes:
    """The signature: Ed25519, or RSA-PSS with SHA-256."""
    with tempfile.NamedTemporaryFile(prefix="airboss-") as file:
        file.write(data)
        file.flush()
        given = f"{key.passphrase}\n".encode()
        if len(key.public) < 100:  # Ed25519: 44 bytes; RSA of 1024 bits: 162
            ask = ["pkeyutl", "-sign", "-rawin", "-in", file.name, "-inkey", key.file, *_pass(key.passphrase)]
            return _openssl(ask, given)
        pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]
        ask = ["dgst", "-sha256", *pss, *_pass(key.passphrase), "-sign", key.file, file.name]
        return _openssl(ask, given)


def _pass(passphrase: str) -> List[str]:
    return ["-passin", "stdin"] if passphrase else []


def _new_passphrase() -> str:
    first = _typed("Passphrase of the new key: ")
    if len(first) < 4 or "\n" in first:
        raise AirbossError("a passphrase has at least four characters")
    if _typed("The same passphrase again: ") != first:
        raise AirbossError("the two passphrases differ")
    return first


def _typed(prompt: str) -> str:
    """What a person types unseen; AirbossError without a terminal, and at the end of the input."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass(prompt)
    except (EOFError, getpass.GetPassWarning):
        raise AirbossError("no passphrase was typed; run this command at a terminal") from None


def _openssl(arguments: Sequence[str], given: bytes) -> bytes:
    program = shutil.which("openssl")
    if program is None:
        raise AirbossError(
            "the program openssl is not here; install it: apt-get install openssl, or dnf install openssl"
        )
    try:
        done = subprocess.run(
            [program, *arguments], input=given, capture_output=True, timeout=120, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise AirbossError(f"openssl {arguments[0]} failed: {error}") from None
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it gave no reason"]
        raise AirbossError(f"openssl {arguments[0]} failed: {_one_line(lines[-1])}")
    return done.stdout


# requests


def read_settings(given: Dict[str, str], known: Sequence[str] = SETTINGS) -> Settings:
    """The settings: `given` by name first, then those of the first file that has a setting.

    `known` are those that the caller takes by name, for the error about one that is missing.
    """
    values = dict(given)
    for name in SETTINGS_FILES:
        for setting, value in _settings_of(Path(name).expanduser()).items():
            values.setdefault(setting, value)
    for setting in ("server", "cluster", "authority", "key"):
        if not values.get(setting):
            by_name = f"give {setting}=…, or a" if setting in known else "add the"
            raise AirbossError(f"{setting} is not set: {by_name} line {setting} = … in {SETTINGS_FILES[1]}")
    server, _, port = (
        values["server"].rpartition(":") if values["server"].count(":") == 1 else (values["server"], "", "")
    )
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise AirbossError(f"server={values['server']} has no valid port")
    return Settings(
        server,
        int(port or PORT),
        values.get("name") or server,
        values["cluster"],
        str(Path(values["authority"]).expanduser()),
        str(Path(values["key"]).expanduser()),
    )


def _settings_of(path: Path) -> Dict[str, str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise AirbossError(f"{path} cannot be read: {error}") from None
    found = {}
    for number, line in enumerate(lines, 1):
        name, equals, value = (part.strip() for part in line.partition("="))
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not equals or name not in SETTINGS:
            raise AirbossError(f"{path}, line {number}: not one of {', '.join(SETTINGS)} and its value")
        found[name] = value
    return found


def ask(settings: Settings, key: Key, operation: str, **fields: object) -> Dict[str, Any]:
    """The answer to a request. Busy services are asked again, each time with a request of its own."""
    end = time.monotonic() + _RETRIES_SECONDS
    while True:
        with contextlib.closing(_connect(settings)) as connection:
            status, headers, body = _send(connection, settings, key, operation, fields)
            body = _read_body(connection, headers, body)
        if status in (429, 503) and time.monotonic() < end:
            time.sleep(min(float(headers.get("retry-after", "5")[:3] or 5), 30.0))
            continue
        return _content(status, body)


def open_stream(
    settings: Settings, key: Key, host: str, operation: str = CONSOLE
) -> Tuple[ssl.SSLSocket, bytes]:
    """A connection that carries the console of a machine from now on, and its first bytes."""
    connection = _connect(settings)
    try:
        status, headers, body = _send(connection, settings, key, operation, {"hosts": [host]})
        if status != 101:
            _content(status, _read_body(connection, headers, body))
            raise AirbossError("the service did not open the console")
    except BaseException:
        connection.close()
        raise
    connection.settimeout(None)
    return connection, body


def _connect(settings: Settings) -> ssl.SSLSocket:
    try:
        context = ssl.create_default_context(cafile=settings.authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    except OSError as error:
        raise AirbossError(
            f"the authority's certificate {settings.authority} cannot be read: {error}"
        ) from None
    where = f"{settings.server}, port {settings.port}"
    try:
        plain = socket.create_connection((settings.server, settings.port), timeout=_ANSWER_SECONDS)
    except (OSError, UnicodeError) as error:
        raise AirbossError(f"{where} does not answer: {getattr(error, 'strerror', None) or error}") from None
    try:
        return context.wrap_socket(plain, server_hostname=settings.name)
    except ssl.SSLCertVerificationError as error:
        plain.close()
        raise AirbossError(
            f"{where} does not prove that it is {settings.name} of this authority: {error.verify_message}; the setting "
            "name is the name of the site's frontend"
        ) from None
    except (OSError, ValueError) as error:
        plain.close()
        raise AirbossError(f"{where}: {error}") from None


def _send(
    connection: ssl.SSLSocket, settings: Settings, key: Key, operation: str, fields: Dict[str, object]
) -> Tuple[int, Dict[str, str], bytes]:
    document = json.dumps(
        {
            "service": _peer_name(connection),
            "cluster": settings.cluster,
            "time": int(time.time()),
            "nonce": os.urandom(16).hex(),
            "operation": operation,
            "hosts": [],
            "action": "",
            "status": False,
            **fields,
        }
    ).encode()
    signature = base64.b64encode(sign(key, _HEADING + b" request\n" + document))
    body = b" ".join((_HEADING, key.fingerprint.encode(), signature)) + b"\n" + document
    head = (
        f"POST {_PATH} HTTP/1.1\r\nHost: airboss\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    try:
        connection.sendall(head.encode() + body)
        return _read_head(connection)
    except OSError as error:
        raise AirbossError(f"the connection to {settings.server} has ended: {error}") from None


def _peer_name(connection: ssl.SSLSocket) -> str:
    """The name in the certificate of the service, which was verified: the request is for this service only."""
    certificate: dict[str, Any] = connection.getpeercert() or {}
    for part in certificate.get("subject", ()):
        for name, value in part:
            if name == "commonName":
                return str(value)
    raise AirbossError("the certificate of the service has no name")


def _read_head(connection: ssl.SSLSocket) -> Tuple[int, Dict[str, str], bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(_PIECE)
        data += piece
        if not piece or len(data) > _LONGEST_HEAD:
            raise AirbossError("the service gave no answer; it may be busy, try again")
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split()
    if len(parts) < 2 or not parts[1].isdecimal():
        raise AirbossError("the service gave no valid answer")
    pairs = (line.partition(":") for line in lines)
    return int(parts[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}, rest


def _read_body(connection: ssl.SSLSocket, headers: Dict[str, str], data: bytes) -> bytes:
    stated = headers.get("content-length", "")
    length = int(stated) if stated.isdecimal() and len(stated) < 9 else 0
    if length > _LONGEST_BODY:
        raise AirbossError("the answer of the service is too long")
    try:
        while len(data) < length:
            piece = connection.recv(_PIECE)
            if not piece:
                raise AirbossError(
                    "the answer of the service ended early; look whether it was done: list host macs"
                )
            data += piece
    except OSError as error:
        raise AirbossError(
            f"the connection has ended: {error}; look whether it was done: list host macs"
        ) from None
    return data[:length]


def _content(status: int, body: bytes) -> Dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise AirbossError(f"the service gave no valid answer (status {status})")
    if status != 200:
        raise AirbossError(_one_line(str(found.get("error", f"status {status}"))))
    return found


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def machine_rows(answer: Dict[str, Any]) -> List[Tuple[str, str, str]]:
    """(MAC, state or '', names separated by commas) of each machine in the answer to `list macs`."""
    rows = []
    for machine in answer.get("machines", ()):
        names = ",".join(map(str, machine.get("names", ())))
        rows.append((str(machine.get("mac", "")), str(machine.get("state", "")), names))
    return [(_one_line(mac), _one_line(state), _one_line(names)) for mac, state, names in rows]


# consoles


def use_terminal(connection: ssl.SSLSocket, first: bytes) -> None:
    """Connect this terminal to the stream until it ends, or Ctrl-] is typed."""
    with _raw_terminal():
        relay(connection, first, sys.stdin.fileno(), lambda data: _write_all(sys.stdout.fileno(), data))


def relay(
    connection: ssl.SSLSocket,
    first: bytes,
    descriptor: int,
    put: Callable[[bytes], None],
    leave: bytes = _LEAVE,
) -> None:
    """Carry bytes between the stream and a descriptor until one ends; `leave`, when typed, ends it, too."""
    put(first)
    sources: List[Any] = [connection, descriptor]
    with contextlib.suppress(OSError):
        while True:
            ready = sources if connection.pending() else select.select(sources, [], [])[0]
            if connection in ready:
                data = _received(connection)
                if data == b"":
                    return
                put(data or b"")
            if descriptor in ready and select.select([descriptor], [], [], 0)[0]:
                data = os.read(descriptor, _PIECE)
                if leave and leave in data:
                    return
                if data:
                    connection.sendall(data)
                else:
                    del sources[1:]  # the end of a pipe; the console goes on


def _received(connection: ssl.SSLSocket) -> Optional[bytes]:
    """Bytes that are there, b"" at the end; None when TLS received something for itself."""
    connection.setblocking(False)
    try:
        return connection.recv(_PIECE)
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None
    finally:
        connection.setblocking(True)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    import termios
    import tty

    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin.fileno())
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def show_screen(connection: ssl.SSLSocket, first: bytes, say: Callable[[str], None]) -> None:
    """Offer the screen to one viewer, on a unix socket of this user; starts one if there is a display."""
    with tempfile.TemporaryDirectory(prefix="airboss-") as folder, socket.socket(socket.AF_UNIX) as server:
        path = f"{folder}/screen"
        server.bind(path)
        server.listen(1)
        viewer = _viewer()
        program = subprocess.Popen([viewer, path]) if viewer else None
        if program is None:
            say(f"the screen is at {path} until you press Ctrl-C; show it: xtigervncviewer {path}")
        client, _ = server.accept()
        with client:
            relay(connection, first, client.fileno(), client.sendall, b"")
        if program is not None:
            program.wait()


def _viewer() -> Optional[str]:
    found = (shutil.which(name) for name in ("xtigervncviewer", "vncviewer"))
    return next(filter(None, found), None) if os.environ.get("DISPLAY") else None


# the program


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    try:
        return _run(list(arguments))
    except AirbossError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    except (KeyboardInterrupt, EOFError):
        print("interrupted", file=sys.stderr)
        return 130


def _run(arguments: List[str]) -> int:
    parts = tuple(arguments[:3])
    if parts[:2] == ("create", "keys"):
        _, given = _split(arguments[2:], ("key", "type", "passphrase"), 0, 0)
        if not given.get("key"):
            raise AirbossError("must supply a filename for the private key")
        with_passphrase = _yes(given, "passphrase")
        print(create_key(given["key"], given.get("type", "rsa"), with_passphrase), end="")
        return 0
    commands: Dict[Tuple[str, ...], Tuple[Callable[..., int], Tuple[str, ...], int, int]] = {
        ("list", "host", "macs"): (_list, ("status",), 0, 1),
        ("set", "host", "power"): (_power, ("action",), 1, 256),
        ("set", "cluster", "power"): (_cluster_power, ("action", "with-frontend"), 0, 1),
        ("set", "host", "cdrom"): (_cdrom, ("image", "cdrom", "boot"), 1, 1),
        ("open", "host", "console"): (_console, ("type",), 1, 1),
    }
    if parts not in commands:
        print((__doc__ or "").strip(), file=sys.stderr if arguments else sys.stdout)
        return 1 if arguments else 0
    run, parameters, least, most = commands[parts]
    hosts, given = _split(arguments[3:], (*parameters, *SETTINGS), least, most)
    if hosts and parts in (("list", "host", "macs"), ("set", "cluster", "power")):
        given.setdefault("cluster", hosts[0])
    settings = read_settings({name: given[name] for name in SETTINGS if name in given})
    return run(settings, hosts, given)


def _split(
    texts: Sequence[str], known: Sequence[str], least: int, most: int
) -> Tuple[List[str], Dict[str, str]]:
    hosts, given = [], {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            hosts.append(text)
        elif name in known:
            given[name] = value
        else:
            raise AirbossError(f"there is no parameter {_one_line(name)}=, only {', '.join(known)}")
    if not least <= len(hosts) <= most:
        raise AirbossError(
            f"{len(hosts)} hosts are given, it takes {least}{'' if least == most else f' to {most}'}"
        )
    return hosts, given


def _yes(given: Dict[str, str], name: str) -> bool:
    text = given.get(name, "no").lower()
    if text not in ("yes", "no", "true", "false", "y", "n", "1", "0"):
        raise AirbossError(f"{name} must be yes or no")
    return text in ("yes", "true", "y", "1")


def _list(settings: Settings, hosts: List[str], given: Dict[str, str]) -> int:
    with_status = _yes(given, "status")
    answer = ask(settings, open_key(settings.key), LIST_MACS, status=with_status)
    rows = [
        (mac, state, names) if with_status else (mac, names) for mac, state, names in machine_rows(answer)
    ]
    header: Tuple[str, ...] = ("MACS IN CLUSTER", "STATE", "HOST NAMES")
    table = [header if with_status else (header[0], header[2]), *rows]
    widths = [max(map(len, column)) for column in zip(*table)]
    for row in table:
        print(" ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    return 0


def _power(settings: Settings, hosts: List[str], given: Dict[str, str]) -> int:
    answer = ask(settings, open_key(settings.key), POWER, hosts=hosts, action=_action(given))
    return report_power(answer, lambda line: print(line, file=sys.stderr))


def _cluster_power(settings: Settings, hosts: List[str], given: Dict[str, str]) -> int:
    action, with_frontend = _action(given), _yes(given, "with-frontend")
    answer = switch_cluster(settings, action, with_frontend)
    return report_power(answer, lambda line: print(line, file=sys.stderr))


def _action(given: Dict[str, str]) -> str:
    if given.get("action") not in ("on", "off", "install"):
        raise AirbossError('invalid action. action must be "on", "off" or "install"')
    return given["action"]


def switch_cluster(settings: Settings, action: str, with_frontend: bool) -> Dict[str, Any]:
    """The answer to one request for all computes of the cluster, and its frontend with `with_frontend`."""
    hosts = [settings.cluster] if with_frontend else []
    return ask(settings, open_key(settings.key), CLUSTER_POWER, hosts=hosts, action=action)


def _cdrom(settings: Settings, hosts: List[str], given: Dict[str, str]) -> int:
    image = read_image(given.get("image"), given.get("cdrom"))
    answer = insert_image(settings, hosts[0], image, given.get("boot"))
    return report_power(answer, lambda line: print(line, file=sys.stderr))


def read_image(image: Optional[str], path: Optional[str]) -> str:
    """The ISO of the parameters `image` and `cdrom`, '' for none; a path, as in Rocks, is not for owners."""
    if image and path:
        raise AirbossError("give either image=NAME or cdrom=none, not both")
    text = image or path or ""
    if not text:
        raise AirbossError(
            "you need to specify the path to the cdrom: image=NAME, or image=none for an empty drive"
        )
    if text.lower() in ("none", "eject"):
        return ""
    if not image:
        raise AirbossError("owners insert ISOs that the site gives their cluster: image=NAME, not cdrom=PATH")
    return text


def insert_image(settings: Settings, host: str, image: str, boot: Optional[str]) -> Dict[str, Any]:
    """The answer to a request to insert an ISO, '' for none, into the drive of a machine; `boot` None: as it is."""
    if boot not in (None, "first", "last"):
        raise AirbossError(f'boot must be first or last, not "{_one_line(boot)}"')
    return ask(settings, open_key(settings.key), CDROM, hosts=[host], image=image, boot=boot or "")


def report_power(answer: Dict[str, Any], say: Callable[[str], None]) -> int:
    """Say what is not done yet or failed, in the answer to `power`; returns the exit status: 0, 1, or 3 for some."""
    begun, failed = (
        ", ".join(_one_line(str(name)) for name in answer.get(part, ())) for part in ("begun", "failed")
    )
    if begun:
        say(f"begun, and not done yet: {begun}; list host macs status=yes shows the states")
    if failed:
        say(f"command failed: {failed}; the site's operators have the reason in their log")
    return 0 if not failed else 3 if answer.get("done") else 1


def _console(settings: Settings, hosts: List[str], given: Dict[str, str]) -> int:
    kind = given.get("type", "serial")
    if kind not in ("serial", "vnc"):
        raise AirbossError(f'type must be one of serial, vnc, not "{_one_line(kind)}"')
    key = open_key(settings.key)
    connection, first = open_stream(settings, key, hosts[0], CONSOLE if kind == "serial" else SCREEN)
    with connection:
        if kind == "serial":
            print(f"serial console of {hosts[0]}; press Ctrl-] to leave it", file=sys.stderr)
            use_terminal(connection, first)
        else:
            show_screen(connection, first, lambda line: print(line, file=sys.stderr))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
