"""The message broker of this machine: its certificates, and what `rabbitmqctl` can tell and do."""

from __future__ import annotations

import grp
import json
import os
import shlex
from pathlib import Path
from typing import NamedTuple

from rocks.errors import HostError, StateError, ToolError
from rocks.process import Finished, run

BROKER_CONFIGURATION = "/etc/rocks/broker.conf"
_DEADLINE_SECONDS = 60.0


class BrokerSettings(NamedTuple):
    """How this machine's broker is reached: `program` tells it things, files in `pki_folder` belong to `group`."""

    program: str = "/usr/sbin/rabbitmqctl"
    pki_folder: str = "/etc/rabbitmq/rocks"
    group: str = "rabbitmq"


def read_broker_settings(path: str = BROKER_CONFIGURATION) -> BrokerSettings:
    """The settings: the defaults where the file, lines `key = value`, says nothing else. StateError for a bad line."""
    file = Path(path)
    found = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        name, is_pair, value = (part.strip() for part in line.partition("="))
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not is_pair or name not in BrokerSettings._fields:
            raise StateError(
                f'{path}: "{line.strip()}" is not understood; there are {", ".join(BrokerSettings._fields)}'
            )
        found[name] = value
    return BrokerSettings()._replace(**found)


class BrokerControl:
    """This machine's broker. Whatever it refuses is a ToolError with its own words."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings

    @property
    def is_here(self) -> bool:
        """Whether this machine has a broker at all."""
        return Path(shlex.split(self._settings.program)[0]).exists()

    def give_certificates(self, files: dict[str, bytes]) -> bool:
        """Have these files, and nobody else read them; returns whether any was new.

        Names are relative to the folder. The broker looks for the list of revoked certificates at each connection; for
        the others it must be restarted, or `rabbitmqctl eval 'ssl:clear_pem_cache().'` run.
        """
        group = self._group_id()
        changed = False
        for name, data in files.items():
            path = Path(self._settings.pki_folder, name)
            try:
                for folder in (Path(self._settings.pki_folder), path.parent):
                    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
                    os.chown(folder, -1, group)
                if path.exists() and path.read_bytes() == data:
                    continue
                _write(path, data, group)
            except OSError as error:
                raise HostError(f"cannot write {path}: {error.strerror}") from None
            changed = True
        return changed

    def forget_read_files(self) -> None:
        """Have the broker read its certificates anew; Erlang keeps them for two minutes."""
        self._control("eval", "ssl:clear_pem_cache().")

    def apply(self, definitions: str) -> None:
        """Have these definitions, whatever else there is."""
        self._control("import_definitions", standard_input=definitions.encode("utf-8"))

    def users(self, tag: str) -> list[str]:
        """Names of the users that carry the tag."""
        text = self._control("--formatter", "json", "list_users").text
        return sorted(user["user"] for user in json.loads(text) if tag in user["tags"])

    def remove_user(self, name: str) -> bool:
        """Have no such user; what it has open is ended. Returns whether there was one."""
        try:
            self._control("delete_user", name)
        except ToolError as error:
            if "does not exist" in str(error):
                return False
            raise
        return True

    def _control(self, *words: str, standard_input: bytes = b"") -> Finished:
        program = shlex.split(self._settings.program)
        finished = run(
            [*program, "--quiet", *words], deadline_seconds=_DEADLINE_SECONDS, standard_input=standard_input
        )
        if finished.exit_status != 0:
            lines = [line.strip() for line in finished.error_text.splitlines() if line.strip()]
            said = " ".join(lines[:3]).removeprefix("Error:").strip() or "it printed nothing"
            raise ToolError(f"the message broker did not do {words[0]}: {said}")
        return finished

    def _group_id(self) -> int:
        group = self._settings.group
        if group.isdecimal():
            return int(group)
        try:
            return grp.getgrnam(group).gr_gid
        except KeyError:
            raise StateError(f"this machine has no group {group}, which the message broker brings") from None


def _write(path: Path, data: bytes, group: int) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchown(descriptor, -1, group)
        os.fchmod(descriptor, 0o640)
        file.write(data)
    draft.rename(path)
