"""opensm on this machine: the file of its partitions, and how it is made to read it again.

opensm 3.3.23 reads the file at its start and at each heavy sweep, which SIGHUP begins.
"""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path
from typing import NamedTuple

from rocks.errors import HostError, StateError, ToolError
from rocks.process import run_checked

PROGRAM = "opensm"
_DEADLINE_SECONDS = 20.0
_HOW = (
    "start it with --pidfile FILE and `rocks set attr ib_opensm_pid_file FILE`, or where systemd runs it: "
    "rocks set attr ib_opensm_reload \"systemctl kill --signal=HUP 'opensm@*'\""
)


class ManagerSettings(NamedTuple):
    """Where opensm's partitions are, and how it is told: a program with arguments, else the file of its process id."""

    partitions_file: str
    pid_file: str = ""
    reload: str = ""


class SubnetManager:
    """The opensm that the settings name."""

    def __init__(self, settings: ManagerSettings) -> None:
        self._settings = settings
        self._path = Path(settings.partitions_file)

    def read_partitions(self) -> str:
        """The file as it is; empty when there is none. HostError when it cannot be read."""
        try:
            return self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise HostError(f"cannot read {self._path}: {_reason(error)}") from None

    def write_partitions(self, text: str) -> bool:
        """Have the file hold this, at every moment either the old or the new; returns whether it was another.

        A symbolic link stays one. StateError when opensm's folder is missing, HostError when it cannot be written.
        """
        if self.read_partitions() == text:
            return False
        path = self._path.resolve()
        if not path.parent.is_dir():
            raise StateError(
                f"there is no folder {path.parent} for opensm's partitions: install opensm on this machine, or set the "
                "attribute ib_partitions_file"
            )
        try:
            _replace(path, text)
        except OSError as error:
            raise HostError(f"cannot write {path}: {error.strerror}") from None
        return True

    def read_again(self) -> None:
        """Have opensm read its partitions.

        StateError when nobody said how or it does not run, ToolError when it cannot be told.
        """
        if self._settings.reload:
            try:
                words = shlex.split(self._settings.reload)
            except ValueError as error:
                raise StateError(
                    f"the attribute ib_opensm_reload is no program with arguments: {error}"
                ) from None
            run_checked(words, deadline_seconds=_DEADLINE_SECONDS)
        elif self._settings.pid_file:
            self._signal(Path(self._settings.pid_file))
        else:
            raise StateError(f"nobody has said how opensm is told to read its partitions: {_HOW}")

    def _signal(self, path: Path) -> None:
        gone = f"opensm does not run: {path} "
        try:
            text = path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            raise StateError(f"{gone}is missing; start it, it reads its partitions then") from None
        except (OSError, UnicodeDecodeError) as error:
            raise HostError(f"cannot read {path}: {_reason(error)}") from None
        if not text.isdecimal() or int(text) < 2:
            raise StateError(f"{path} holds no process id of opensm; start opensm with --pidfile {path}")
        if _program_of(int(text)) != PROGRAM:
            raise StateError(
                f"{gone}names process {text}, which is not opensm; start it, it reads its partitions then"
            )
        try:
            os.kill(int(text), signal.SIGHUP)
        except ProcessLookupError:
            raise StateError(f"{gone}names a process that has ended; start it") from None
        except OSError as error:
            raise ToolError(f"opensm (process {text}) was not told: {error.strerror}") from None


def _program_of(number: int) -> str:
    try:
        return Path(f"/proc/{number}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            mode = path.stat().st_mode & 0o7777 if path.exists() else 0o644
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or "it is no text"
