"""Which server is asked, and as whom: options, then the environment, then a file.

Our file is ~/.config/comet/config.toml:

    active = "production"

    [endpoints.production]
    url = "https://nucleus.example.org/nucleus"
    username = "ann"
    token = "nuc_…"
    ca = "/etc/ssl/site-ca.pem"      # only for a site with a CA of its own

Without it the old client's YAML (`cloudmesh.comet`) is read, which needs PyYAML.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Optional
from urllib.parse import urlsplit

from comet.client.errors import AuthenticationError, UsageError
from comet.client.files import expanded, locked, replace_file, toml_document

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOKEN = re.compile(r"[!-~]{8,512}")
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_KEYS = ("url", "username", "token", "ca", "api_version")


class Endpoint(NamedTuple):
    """A Nucleus and what its user shows it: a token, or what the old client's file has.

    That is a key with its secret (`signature`), or a `password`: `env` (of COMET_PASSWORD), `readline` (asked for), or
    the password itself.
    """

    name: str
    url: str
    username: str = ""
    token: str = ""
    ca: str = ""
    api_version: str = "v1"
    signature: Optional[tuple[str, str]] = None
    password: str = ""

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r}, {self.url!r}, {self.username!r})"  # without secrets

    @property
    def identity(self) -> str:
        """What the cache distinguishes users by: the name and the public part of the token."""
        parts = self.token.split("_")
        if len(parts) == 3 and len(parts[1]) == 8:
            return f"{self.username}/{parts[1]}"
        if not self.token:
            return f"{self.username}/"
        import hashlib

        return f"{self.username}/{hashlib.sha256(self.token.encode()).hexdigest()[:12]}"


class Configuration(NamedTuple):
    """The endpoints of a file, by name, and the active one's name. `notes` are lines for the user."""

    path: Path
    active: str
    endpoints: Mapping[str, Endpoint]
    notes: tuple[str, ...] = ()

    def endpoint(self, name: str = "", environment: Mapping[str, str] = os.environ) -> Endpoint:
        """The endpoint of a name or address; by default COMET_ENDPOINT, then the active one. COMET_TOKEN wins."""
        expected = name or environment.get("COMET_ENDPOINT", "") or self.active
        if "://" in expected:
            known = [it for it in self.endpoints.values() if it.url == checked_url(expected)]
            found = known[0] if known else Endpoint(expected, checked_url(expected))
        elif expected in self.endpoints:
            found = self.endpoints[expected]
        elif self.endpoints:
            raise UsageError(
                f"there is no endpoint '{expected}' in {self.path}: {', '.join(sorted(self.endpoints))}"
            )
        else:
            raise UsageError(f"no endpoint is known ({self.path} does not exist): run comet init")
        token = environment.get("COMET_TOKEN", "")
        return found._replace(token=checked_token(token), signature=None, password="") if token else found


def default_path(environment: Mapping[str, str] = os.environ) -> Path:
    """COMET_CONFIG, else config.toml below XDG_CONFIG_HOME or ~/.config."""
    if environment.get("COMET_CONFIG"):
        return Path(environment["COMET_CONFIG"])
    base = environment.get("XDG_CONFIG_HOME", "")
    folder = Path(base) if Path(base).is_absolute() else expanded(Path("~/.config"))
    return folder / "comet" / "config.toml"


def old_path() -> Path:
    """Where the old client had its configuration."""
    return expanded(Path("~/.cloudmesh/cloudmesh.yaml"))


def load(path: Optional[Path] = None) -> Configuration:
    """The configuration of a file; of none if it does not exist. UsageError if it cannot be read or understood."""
    chosen = path or default_path()
    try:
        if path is None and "COMET_CONFIG" not in os.environ and not chosen.exists() and old_path().exists():
            chosen = old_path()
        text = chosen.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return Configuration(chosen, "", {})
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{chosen} cannot be read: {error}") from error
    read = _read_yaml if chosen.suffix in (".yaml", ".yml") else _read_toml
    active, endpoints = read(chosen, text)
    return Configuration(chosen, active, endpoints, _privacy(chosen, endpoints))


def save(path: Path, configuration: Configuration) -> None:
    """Write our TOML with mode 0600, as a whole or not at all. UsageError where it cannot be written."""
    lines = [f"active = {_quoted(configuration.active)}", ""]
    for name, it in sorted(configuration.endpoints.items()):
        lines.append(f"[endpoints.{_quoted(name)}]")
        for key in _KEYS:
            if getattr(it, key):
                lines.append(f"{key} = {_quoted(getattr(it, key))}")
        lines.append("")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, "\n".join(lines), 0o600)
    except (OSError, UnicodeError) as error:
        raise _not_written(path, error) from error


@contextlib.contextmanager
def changing(path: Path) -> Iterator[None]:
    """While no other `comet` changes the file: it is read in here and saved. UsageError where it cannot be written."""
    try:
        with locked(path.with_name(f".{path.name}.lock")):
            yield
    except OSError as error:
        raise _not_written(path, error) from error


def _not_written(path: Path, error: Exception) -> UsageError:
    return UsageError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}")


def checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' is not an endpoint's name: letters, digits, dot, underscore and dash")
    return name


def checked_url(url: str) -> str:
    """The base address without a final slash. UsageError unless it is https, or http to this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("https", "http") or parts.query or parts.fragment or parts.username:
        raise UsageError(f"'{url}' is not an address such as https://nucleus.example.org/nucleus")
    if parts.scheme == "http" and host not in THIS_MACHINE:
        raise UsageError(f"'{url}' would send the token unencrypted: use https")
    if not re.fullmatch(r"[!-~]+", url):
        raise UsageError(f"{url!r} has characters that an address cannot have")
    return url.rstrip("/")


def checked_token(token: str) -> str:
    """AuthenticationError for one that cannot be sent in a header; the message does not repeat it."""
    if not _TOKEN.fullmatch(token):
        raise AuthenticationError(
            "the token is not a whole one: copy it whole, without blanks and line ends, or run comet init"
        )
    return token


def _read_toml(path: Path, text: str) -> tuple[str, dict[str, Endpoint]]:
    try:
        document = toml_document(text)
    except ValueError as error:
        raise UsageError(
            f"{path} is not TOML: {error}. Correct it, or remove it and run comet init"
        ) from error
    endpoints = {}
    for name, table in _table(document.get("endpoints", {}), path, "endpoints").items():
        values: dict[str, Any] = {
            key: _text(value, path, key) for key, value in _table(table, path, name).items()
        }
        unknown = sorted(set(values) - set(_KEYS))
        if unknown:
            raise UsageError(f"{path}: endpoint '{name}' has the unknown key '{unknown[0]}'")
        if values.get("token"):
            checked_token(values["token"])
        url = checked_url(values.pop("url", ""))
        endpoints[name] = Endpoint(checked_name(name), url, **values)
    return _text(document.get("active", ""), path, "active"), endpoints


def _read_yaml(path: Path, text: str) -> tuple[str, dict[str, Endpoint]]:
    try:
        import yaml  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        raise UsageError(
            f"{path} is the old client's; to read it install PyYAML (pip install 'comet-client[yaml]'), "
            "or write a new configuration with comet init"
        ) from None
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(
            f"{path} is not YAML: {error}. Run comet init to write a new configuration"
        ) from error
    comet = document
    for key in ("cloudmesh", "comet"):
        comet = _table(comet, path, key).get(key)
    comet = _table(comet, path, "comet")
    username = _old_value(comet.get("username"))
    endpoints = {
        name: _old_endpoint(name, _table(table, path, name), username)
        for name, table in _table(comet.get("endpoints"), path, "endpoints").items()
        if _old_value(_table(table, path, name).get("nucleus_base_url"))
    }
    return _old_value(comet.get("active")), endpoints


def password_of(endpoint: Endpoint) -> str:
    """The endpoint's password, from where the old client's file says. AuthenticationError without one."""
    if endpoint.password not in ("env", "readline"):
        return endpoint.password
    found = os.environ.get("COMET_PASSWORD", "")
    if not found and endpoint.password == "readline" and sys.stdin is not None and sys.stdin.isatty():
        import getpass

        with contextlib.suppress(EOFError):
            found = getpass.getpass(f"Password at {endpoint.url}: ")
    if not found:
        raise AuthenticationError(f"no password for {endpoint.url}: set COMET_PASSWORD, or run comet init")
    return found


def _old_endpoint(name: str, table: Mapping[str, Any], username: str) -> Endpoint:
    provider = table.get("auth_provider")
    found = table.get(provider) if provider in ("apikey", "userpass") else None
    values = {key: _old_value(it) for key, it in found.items()} if isinstance(found, dict) else {}
    key, secret = values.get("api_key", ""), values.get("api_secret", "")
    return Endpoint(
        checked_name(str(name)),
        checked_url(_old_value(table.get("nucleus_base_url"))),
        values.get("username") or username,
        api_version=_old_value(table.get("api_version")) or "v1",
        signature=(key, secret) if provider == "apikey" and key and secret else None,
        password=values.get("password", "") if provider == "userpass" else "",
    )


def _old_value(value: object) -> str:
    """The old client's `TBD` is no value; some of its numbers are not quoted."""
    return "" if value is None or value == "TBD" else str(value)


def _privacy(path: Path, endpoints: Mapping[str, Endpoint]) -> tuple[str, ...]:
    """Close a file with a secret to others; UsageError if that cannot be done."""
    secrets = {_secret_of(it): None for it in endpoints.values()}
    secrets.pop("", None)
    if not secrets or not stat.S_IMODE(path.stat().st_mode) & 0o077:
        return ()
    named = " and ".join(f"a {it}" for it in secrets)
    try:
        path.chmod(0o600)
    except OSError as error:
        raise UsageError(
            f"{path} has {named} and others may read it, and its mode cannot be changed: {error}. "
            f"Make it yours alone: chmod 600 {path}"
        ) from error
    advice = ", ".join(_IF_READ[it] for it in secrets)
    return (
        f"{path} had {named} and others could read it; now its mode is 0600. "
        f"If others use this machine, {advice}, and run comet init",
    )


_IF_READ = {
    "token": "revoke the token (comet token revoke)",
    "key": "ask the site's operators for another key",
    "password": "change the password at the site",
}
"""What to do when others may have read a secret."""


def _secret_of(endpoint: Endpoint) -> str:
    """Which secret an endpoint has in its file; '' for none."""
    if endpoint.token:
        return "token"
    if endpoint.signature:
        return "key"
    return "password" if endpoint.password not in ("", "env", "readline") else ""


def _table(value: object, path: Path, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{path}: '{name}' is not a table. Correct it, or write a new one with comet init")
    return value


def _text(value: object, path: Path, name: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{path}: '{name}' is not text in quotes")
    return value


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's, with the one control character that JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
