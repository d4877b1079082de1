"""The message broker of this machine: its certificates, and its control by `rabbitmqctl`."""

from __future__ import annotations

import grp
import json
import os
import shlex
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rocks.core import dry_run
from rocks.core.errors import HostError, StateError, ToolError
from rocks.core.files import write_file
from rocks.core.process import Finished, run
from rocks.core.settings_file import read_settings_text
from rocks.storage.broker.definitions import TAG
from rocks.storage.wire.names import VIRTUAL_HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

BROKER_CONFIGURATION = "/etc/rocks/broker.conf"
_DEADLINE_SECONDS = 180.0  # it starts an Erlang machine, which took 60 s at a load of 20
_EXIT_NO_USER = 67
"""Exit status of `rabbitmqctl` for an unknown user (EX_NOUSER of sysexits.h, RabbitMQ 3.7 and later)."""


class BrokerSettings(NamedTuple):
    """How to reach the broker of this machine: `program` controls it, `group` owns the files in `pki_folder`."""

    program: str = "/usr/sbin/rabbitmqctl"
    pki_folder: str = "/etc/rabbitmq/rocks"
    group: str = "rabbitmq"


def read_broker_settings(path: str = BROKER_CONFIGURATION) -> BrokerSettings:
    """The settings of the file, lines `key = value`, and the defaults. StateError for an invalid line."""
    file = Path(path)
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    try:
        return BrokerSettings()._replace(**read_settings_text(text, BrokerSettings._fields, path))
    except ValueError as error:
        raise StateError(str(error)) from None


_SIGNS_OF_DOWN = (
    "unable to perform an operation on node",
    "unable to connect to node",
    "nodedown",
    "Distribution failed",  # there is not even Erlang's port mapper: it was never started
)
"""What rabbitmqctl (3.10 to 3.13) prints, with pages of diagnostics, when the broker is down."""

_NO_PORT_MAPPER = "-start_epmd false"
"""For Erlang: else each command starts a port mapper where none runs, which stays and listens on every address."""


class Listener(NamedTuple):
    """Where the broker listens: protocol `amqp/ssl`, `amqp` (without TLS), or another one."""

    interface: str
    port: int
    protocol: str


class BrokerControl:
    """The broker of this machine. Each failed command raises ToolError with the broker's own message."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings

    @property
    def is_here(self) -> bool:
        """Whether a broker is installed on this machine."""
        return Path(shlex.split(self._settings.program)[0]).exists()

    def install_certificates(self, files: dict[str, bytes]) -> bool:
        """Write these files for root and the broker only; returns whether any has changed.

        Names are relative to the folder. The broker reads the list of revoked certificates at each connection. It
        reads the other files at its start and after `clear_certificate_cache`.
        """
        group = self._group_id()
        changed = False
        with self._certificate_folder(group) as folder:
            for name, data in files.items():
                path = folder / name
                try:
                    if path.parent != folder and not dry_run.is_on():
                        path.parent.mkdir(mode=0o750, exist_ok=True)
                        os.chown(path.parent, -1, group)
                    if path.exists() and path.read_bytes() == data:
                        continue
                except OSError as error:
                    place = Path(self._settings.pki_folder, name)
                    raise HostError(f"cannot write {place}: {error.strerror}") from None
                write_file(path, data, mode=0o640, group=group)
                changed = True
        return changed

    @contextmanager
    def _certificate_folder(self, group: int) -> Iterator[Path]:
        """The folder, kept open: it lies in one of the broker's user, who may put a link in its place at any moment.

        HostError for a folder of another user.
        """
        folder = Path(self._settings.pki_folder)
        if dry_run.is_on():
            yield folder
            return
        descriptor = -1
        try:
            folder.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                folder.mkdir(mode=0o750)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            if os.fstat(descriptor).st_uid != os.geteuid():
                raise HostError(
                    f"{folder} belongs to another user, who could read the broker's key: remove it"
                )
            os.fchown(descriptor, -1, group)
            yield Path(f"/proc/self/fd/{descriptor}")
        except OSError as error:
            raise HostError(
                f"cannot write {folder}: {error.strerror}; it must be a folder of root's"
            ) from None
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def clear_certificate_cache(self) -> None:
        """Make the broker read its certificates again; Erlang caches them for two minutes."""
        if not dry_run.would(dry_run.HERE, "have the message broker read its certificates again"):
            self._control("eval", "ssl:clear_pem_cache().")

    def apply(self, definitions: str) -> None:
        """Import these definitions; other objects of the broker stay."""
        if not dry_run.would(dry_run.HERE, "import users and permissions into the message broker"):
            self._control("import_definitions", standard_input=definitions.encode("utf-8"))

    def users(self) -> list[str]:
        """Names of the users of image storage."""
        return sorted(user["user"] for user in self._listed("list_users") if TAG in user["tags"])

    def listeners(self) -> list[Listener]:
        """Where the broker listens. ToolError when it is down."""
        found = self._listed("status")["listeners"]
        return [Listener(str(one["interface"]), int(one["port"]), str(one["protocol"])) for one in found]

    def virtual_hosts(self) -> list[str]:
        """Names of the virtual hosts."""
        return [host["name"] for host in self._listed("list_vhosts")]

    def rights(self, kind: str) -> list[dict[str, str]]:
        """The permissions or topic_permissions in the virtual host of image storage, each with user, write and read."""
        return list(self._listed(f"list_{kind}", "--vhost", VIRTUAL_HOST))

    def remove_user(self, name: str) -> bool:
        """Delete the user and close its connections. Returns False when there is no such user."""
        if dry_run.would(dry_run.HERE, f"remove the user {name} of the message broker"):
            return True
        return self._control("delete_user", name, accepted=(0, _EXIT_NO_USER)).exit_status == 0

    def _listed(self, *arguments: str) -> Any:
        """What a command of rabbitmqctl lists. ToolError when that is not JSON."""
        with dry_run.question():
            text = self._control(*arguments, "--formatter", "json").text
        try:
            return json.loads(text)
        except ValueError:
            raise ToolError(
                f"the message broker answered {arguments[0]} with something else than JSON"
            ) from None

    def _control(
        self, *arguments: str, standard_input: bytes = b"", accepted: tuple[int, ...] = (0,)
    ) -> Finished:
        program = shlex.split(self._settings.program)
        finished = run(
            [*program, "--quiet", *arguments],
            deadline_seconds=_DEADLINE_SECONDS,
            standard_input=standard_input,
            environment={**os.environ, "ERL_FLAGS": _NO_PORT_MAPPER},
        )
        if finished.exit_status not in accepted and any(
            sign in finished.error_text for sign in _SIGNS_OF_DOWN
        ):
            raise ToolError("the message broker of this machine does not run")
        if finished.exit_status not in accepted:
            lines = [line.strip() for line in finished.error_text.splitlines() if line.strip()]
            reason = " ".join(lines[:3]).removeprefix("Error:").strip() or "it printed nothing"
            raise ToolError(f"the message broker failed to {arguments[0]}: {reason}")
        return finished

    def _group_id(self) -> int:
        group = self._settings.group
        if group.isdecimal():
            return int(group)
        try:
            return grp.getgrnam(group).gr_gid
        except KeyError:
            raise StateError(
                f"this machine has no group {group}: install rabbitmq-server, which makes it"
            ) from None
