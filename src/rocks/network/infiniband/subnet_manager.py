"""opensm on this machine: the file of its partitions, and its reload.

opensm 3.3.23 reads the file at its start and at each heavy sweep, which SIGHUP begins.
"""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path
from typing import NamedTuple

from rocks.core import dry_run
from rocks.core.errors import HostError, StateError, ToolError
from rocks.core.files import PUBLIC, text_if_readable, write_file
from rocks.core.process import run_checked

PROGRAM = "opensm"
_DEADLINE_SECONDS = 20.0
_RELOAD = "have opensm read its partitions again"
_HOW = (
    "start it with --pidfile FILE and `rocks set attr ib_opensm_pid_file FILE`, or where systemd runs it: "
    "rocks set attr ib_opensm_reload \"systemctl kill --signal=HUP 'opensm@*'\""
)


class ManagerSettings(NamedTuple):
    """The file of opensm's partitions, and its reload: a program with arguments, else the file of its process id."""

    partitions_file: str
    pid_file: str = ""
    reload: str = ""


class SubnetManager:
    """The opensm that the settings name."""

    def __init__(self, settings: ManagerSettings) -> None:
        self._settings = settings
        self._path = Path(settings.partitions_file)

    def read_partitions(self) -> str:
        """The content of the file; empty when there is none. HostError when it cannot be read."""
        return _read(self._path) or ""

    def write_partitions(self, text: str) -> bool:
        """Replace the content of the file atomically; returns whether it has changed.

        A symbolic link stays. StateError when opensm's folder is missing, or without a setting for `reload`; HostError
        when it cannot be written.
        """
        if not (self._settings.reload or self._settings.pid_file):
            raise StateError(f"no setting for the reload of opensm: {_HOW}")
        if self.read_partitions() == text:
            return False
        path = self._path.resolve()
        if not path.parent.is_dir():
            raise StateError(
                f"there is no folder {path.parent} for opensm's partitions: install opensm on this machine, or set the "
                "attribute ib_partitions_file"
            )
        write_file(path, text, mode=path.stat().st_mode & 0o7777 if path.exists() else PUBLIC)
        return True

    def reload(self) -> None:
        """Make opensm read its partitions again.

        StateError when opensm does not run; ToolError when the signal fails.
        """
        if self._settings.reload:
            try:
                arguments = shlex.split(self._settings.reload)
            except ValueError as error:
                raise StateError(
                    f"the attribute ib_opensm_reload is not a program with arguments: {error}"
                ) from None
            if not dry_run.would(dry_run.HERE, _RELOAD):
                run_checked(arguments, deadline_seconds=_DEADLINE_SECONDS)
        else:
            self._signal(Path(self._settings.pid_file))

    def _signal(self, path: Path) -> None:
        gone, start = f"opensm does not run: {path} ", f"start opensm, which then reads {self._path}"
        content = _read(path)
        if content is None:
            raise StateError(f"{gone}is missing; {start}")
        text = content.strip()
        if not text.isdecimal() or int(text) < 2:
            raise StateError(f"{path} contains no process id of opensm; start opensm with --pidfile {path}")
        if text_if_readable(Path(f"/proc/{int(text)}/comm")) != PROGRAM:
            raise StateError(f"{gone}names process {text}, which is not opensm; {start}")
        if dry_run.would(dry_run.HERE, _RELOAD):
            return
        try:
            os.kill(int(text), signal.SIGHUP)
        except ProcessLookupError:
            raise StateError(f"{gone}names a process that has ended; {start}") from None
        except OSError as error:
            raise ToolError(f"cannot send SIGHUP to opensm (process {text}): {error.strerror}") from None


def _read(path: Path) -> str | None:
    """The content; None when there is no such file. HostError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "it is not text"
        raise HostError(f"cannot read {path}: {reason}") from None
