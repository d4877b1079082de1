"""The owner's clouds and HPC systems, and the defaults of `cm default`.

clouds.toml, beside comet's configuration, has the keys of clouds. It is the owner's, of mode 0600, and only read.
defaults.toml has no secrets, and is written: `cloud`, `hpc`, and a table of each cloud's own defaults.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from comet.client.configuration import changing, default_path
from comet.client.errors import NotFoundError, UsageError
from comet.client.files import replace_file, toml_document
from comet.clouds.providers import PROVIDERS

COMET = "comet"
OF_CLOUDS = ("image", "flavor", "key", "secgroup", "network", "login")
"""Defaults of each cloud; `login` is the user of `cm vm ssh`."""

USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,253}")
_Tables = Mapping[str, Mapping[str, str]]


class Settings(NamedTuple):
    """What the two files have: tables by name. `defaults` has those of each cloud, and of '' `cloud` and `hpc`."""

    path: Path
    clouds: _Tables
    hpc: _Tables
    defaults: _Tables

    def cloud(self, given: str = "") -> str:
        """The cloud that was given, or the default. NotFoundError if there is none of this name."""
        return self._known("cloud", given or self.default("", "cloud") or COMET, (COMET, *self.clouds))

    def login_node(self, given: str) -> str:
        """`HOST` or `USER@HOST` of the HPC system that was given, of the default one, or of the only one."""
        only = next(iter(self.hpc), "") if len(self.hpc) == 1 else ""
        chosen = given or self.default("", "hpc") or only
        if not chosen:
            advice = "cm default hpc=NAME" if self.hpc else "write a table [hpc.NAME] with host into it"
            names = ", ".join(self.hpc) or "none"
            raise NotFoundError(f"no HPC system is chosen of {self.path} ({names}): {advice}")
        name = self._known("HPC system", chosen, tuple(self.hpc))
        user, host = self.hpc[name].get("user", ""), self.hpc[name].get("host", "")
        if not _HOST.fullmatch(host) or user and not USER.fullmatch(user):
            raise UsageError(
                f"{self.path}: [hpc.{name}] needs host, the login node's name, and may have user"
            )
        return f"{user}@{host}" if user else host

    def default(self, cloud: str, key: str) -> str:
        return self.defaults.get(cloud, {}).get(key, "")

    def _known(self, what: str, name: str, names: tuple[str, ...]) -> str:
        if name not in names:
            raise NotFoundError(f"there is no {what} '{name}' in {self.path}; it has: {', '.join(names)}")
        return name


def load() -> Settings:
    """UsageError for a file that cannot be read or understood, or that others may read."""
    path = default_path().parent / "clouds.toml"
    document = _document(path)
    if document and path.stat().st_mode & 0o077:
        raise UsageError(
            f"{path} has keys of clouds and others may read it: chmod 600 {path}; if others use this machine, "
            "have the clouds make new keys"
        )
    clouds, hpc = (_tables(path, document, group) for group in ("clouds", "hpc"))
    for name, table in clouds.items():
        _check_cloud(f"{path}: [clouds.{name}]", name, table)
    return Settings(path, clouds, hpc, _defaults(path.with_name("defaults.toml")))


def set_defaults(settings: Settings, given: Mapping[str, str], chosen: str = "") -> None:
    """Write defaults; the value '' removes one. UsageError, NotFoundError.

    Those of a cloud are written for the cloud that is `chosen`, else for the one that is then the default.
    """
    unknown = [it for it in given if it not in ("cloud", "hpc", *OF_CLOUDS)]
    if unknown:
        raise UsageError(f"there is no default '{unknown[0]}': cloud, hpc, {', '.join(OF_CLOUDS)}")
    is_removed = given.get("cloud") == ""
    cloud = COMET if is_removed and not chosen else settings.cloud(chosen or given.get("cloud", ""))
    if given.get("cloud"):
        settings.cloud(given["cloud"])
    if cloud == COMET and set(given) & set(OF_CLOUDS):
        raise UsageError(
            f"the cloud {COMET} has no such defaults: choose another one first, cm default cloud=NAME"
        )
    if given.get("hpc"):
        settings.login_node(given["hpc"])
    if given.get("login") and not USER.fullmatch(given["login"]):
        raise UsageError(f"login={given['login']}: this is no user's name")
    path = settings.path.with_name("defaults.toml")
    with changing(path):
        found = _defaults(path)
        for key, value in given.items():
            found.setdefault("" if key in ("cloud", "hpc") else cloud, {})[key] = value
        lines = []
        for name, table in sorted(found.items()):
            lines += [f"\n[clouds.{name}]"] if name else []
            lines += [f"{key} = {json.dumps(value)}" for key, value in sorted(table.items()) if value]
        replace_file(path, "\n".join(lines) + "\n", 0o600)


def _defaults(path: Path) -> dict[str, dict[str, str]]:
    document = _document(path)
    own = {key: it for key, it in document.items() if isinstance(it, str)}
    return {"": own, **_tables(path, document, "clouds")}


def _document(path: Path) -> dict[str, Any]:
    try:
        return toml_document(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(
            f"{path} is not TOML: {error}"
        ) from None  # it has the place, and no text of the file


def _tables(path: Path, document: Mapping[str, Any], group: str) -> dict[str, dict[str, str]]:
    tables = document.get(group, {})
    if not isinstance(tables, dict):
        raise UsageError(f"{path}: '{group}' is not a table [{group}.NAME]")
    for name, table in tables.items():
        if not _NAME.fullmatch(name):
            raise UsageError(f"{path}: {name!r} is not a name: letters, digits, underscore and dash")
        wrong = [it for it in table if not isinstance(table[it], str)] if isinstance(table, dict) else [name]
        if wrong:
            raise UsageError(f"{path}: '{wrong[0]}' of [{group}.{name}] is not text in quotes")
    return tables


def _check_cloud(where: str, name: str, table: Mapping[str, str]) -> None:
    if name == COMET:
        raise UsageError(
            f"{where}: the cloud {COMET} is the server of comet init; give this one another name"
        )
    provider = PROVIDERS.get(table.get("provider", ""))
    if provider is None:
        raise UsageError(f"{where}: provider is '{table.get('provider', '')}', not {' or '.join(PROVIDERS)}")
    needed = ("provider", "user", "secret", *provider.needed)
    missing = [it for it in needed if not table.get(it)]
    unknown = sorted(set(table) - {*needed, *provider.optional})
    if missing or unknown:
        raise UsageError(
            f"{where} " + (f"has no {missing[0]}" if missing else f"has the unknown key '{unknown[0]}'")
        )
