"""Address, user and password of the cluster database: environment before file before the embedded instance."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError, UserError
from rocks.core.settings_file import read_settings_text

if TYPE_CHECKING:
    from collections.abc import Mapping

EMBEDDED_SOCKET = "/var/opt/rocks/mysql/mysql.sock"
"""Socket of the private MariaDB that comes with the system."""

SETTINGS_FILE = "/etc/rocks/database.conf"
STATE_FOLDER = "/var/lib/rocks/frontend"
"""Where root's commands record what must not depend on the database: locks, and the serial number of the leases."""

DEFAULT_DATABASE = "cluster"
DEFAULT_HOST = "localhost"
DEFAULT_PORT = 3306

KEYS = ("socket", "host", "port", "user", "password", "database", "state_folder")
"""The keys of the settings file."""

PASSWORD_FILES = {"root": "/root/.rocks.my.cnf", "apache": "/opt/rocks/mysql/my.cnf"}
"""User name → the file whose first line is `password = …`; other users have none."""

_VARIABLES = {
    "ROCKS_DATABASE_SOCKET": "socket",
    "ROCKS_DATABASE_HOST": "host",
    "ROCKS_DATABASE_PORT": "port",
    "ROCKS_DATABASE_USER": "user",
    "ROCKS_DATABASE_NAME": "database",
    "ROCKS_DATABASE_STATE_FOLDER": "state_folder",
}


class Settings(NamedTuple):
    """How to reach the database: by `socket`, or by `host` and `port` where `socket` is None.

    `state_folder` is a folder of root's own on this machine, for locks and the record of the leases.
    """

    socket: str | None
    host: str
    port: int
    user: str
    password: str
    database: str
    state_folder: str = STATE_FOLDER

    @property
    def place(self) -> str:
        """The server's address for a message."""
        return f"{self.host}:{self.port}" if self.socket is None else self.socket


def read_settings(environment: Mapping[str, str] = os.environ, file: str | None = None) -> Settings:
    """The settings: from the environment, else from the file, else the defaults of the embedded instance.

    `file` None: the file named by `ROCKS_DATABASE_FILE`, else `SETTINGS_FILE`, which need not exist. A host from a
    source of higher precedence overrides a socket; when one source has both, the socket is used if it exists. The
    password comes from `ROCKS_DATABASE_PASSWORD_FILE`, the settings file, or the user's file in `PASSWORD_FILES`.
    UserError for an invalid line, port or file; StateError for a password that others can read.
    """
    from_file = _read_file(environment, file)
    from_environment = {key: environment[name] for name, key in _VARIABLES.items() if environment.get(name)}
    chosen = {**from_file, **from_environment}
    user = chosen.get("user") or _effective_user()
    return Settings(
        socket=_choose_socket(from_environment, from_file),
        host=chosen.get("host", DEFAULT_HOST),
        port=_read_port(chosen.get("port", str(DEFAULT_PORT))),
        user=user,
        password=_find_password(environment, from_file, user),
        database=_read_name(chosen.get("database", DEFAULT_DATABASE)),
        state_folder=chosen.get("state_folder", STATE_FOLDER),
    )


def _choose_socket(*layers: Mapping[str, str]) -> str | None:
    """The socket of the first source with an address of the server; None when that source has a host."""
    for layer in layers:
        socket = layer.get("socket")
        if socket and ("host" not in layer or os.path.exists(socket)):  # noqa: PTH110 - cheap at start-up
            return socket
        if "host" in layer:
            return None
    return EMBEDDED_SOCKET


def _read_port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise UserError(f"the port of the cluster database is {text!r}: a number from 1 to 65535 is needed")
    return int(text)


def _read_name(text: str) -> str:
    if not text.isascii() or not text.replace("_", "").isalnum() or len(text) > 64:
        raise UserError(f"{text!r} cannot name the cluster database: letters, digits and _ are allowed")
    return text


def _effective_user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _read_file(environment: Mapping[str, str], file: str | None) -> dict[str, str]:
    """Keys and values of the settings file; empty when the default file does not exist."""
    named = file or environment.get("ROCKS_DATABASE_FILE")
    path = named or SETTINGS_FILE
    text = _read_text(path, must_exist=named is not None)
    if not text:
        return {}
    try:
        values = read_settings_text(text, KEYS, path)
    except ValueError as error:
        raise UserError(str(error)) from None
    if values.get("password"):
        _check_unreadable_by_others(path)
    return values


def _find_password(environment: Mapping[str, str], from_file: Mapping[str, str], user: str) -> str:
    named = environment.get("ROCKS_DATABASE_PASSWORD_FILE")
    if not named and "password" in from_file:
        return from_file["password"]
    path = named or PASSWORD_FILES.get(user)
    if path is None:
        return ""
    text = _read_text(path, must_exist=bool(named))
    if text:
        _check_unreadable_by_others(path)
    first_line = text.partition("\n")[0]
    key, equals, value = (part.strip() for part in first_line.partition("="))
    if text and (key != "password" or not equals):
        raise UserError(f"the first line of {path} must be `password = …`")
    return value


def _read_text(path: str, must_exist: bool) -> str:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs start-up time
            return file.read()
    except FileNotFoundError:
        if not must_exist:
            return ""
        raise UserError(f"{path} does not exist; the settings of the database name it") from None
    except OSError as error:
        raise UserError(f"cannot read {path} with the settings of the database: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text") from None


def _check_unreadable_by_others(path: str) -> None:
    if os.stat(path).st_mode & 0o077:  # noqa: PTH116 - pathlib costs start-up time
        raise StateError(f"{path} contains a password, but others can read it; run `chmod 600 {path}`")
