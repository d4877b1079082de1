"""The log of a boot or a sync; schedulers of PRAGMA read it over SSH, and search for "Allocated cluster NAME"."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core import dry_run
from rocks.core.clock import utc_now
from rocks.core.errors import HostError, UserError
from rocks.core.files import ensure_folders, explain
from rocks.core.terminal import one_line

if TYPE_CHECKING:
    from rocks.commands import Command

MAX_LOGS = 1000
"""Logs of boots in the site's folder: each reservation of a user makes one."""

_NAME_OF_BOOT = re.compile(r"-[0-9]{8}-[0-9]{2}:[0-9]{2}\.log\Z")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class Log:
    """A file to which lines are appended, each with its time; that it can be written is known from the beginning."""

    def __init__(self, path: Path, first_line: str) -> None:
        """UserError for what is no path, HostError when it cannot be written."""
        if "\0" in str(path):
            raise UserError(f"logfile must be a path, not {one_line(str(path))[:100]!r}")
        self.path = path.absolute()  # as key=, from where the command is typed
        self.write(first_line)

    def write(self, line: str) -> None:
        """Append the line. HostError when the file cannot be written."""
        if dry_run.is_on():
            return
        try:
            ensure_folders(self.path.parent, 0o755)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{utc_now():%Y-%m-%d %H:%M:%S} {one_line(line)}\n")
        except OSError as error:
            raise HostError(
                f"the log {self.path} cannot be written: {explain(error, self.path)}; repair that, or give "
                "another path: logfile=PATH"
            ) from None


def log_of_boot(given: str | None, folder: Path, vc: str) -> Log:
    """That at the path which the user gave, else a new one in the folder, which has `MAX_LOGS`. Errors as `Log`."""
    if given:
        return Log(Path(given), f"boot of {vc}")
    log = Log(folder / f"{vc}-{utc_now():%Y%m%d-%H:%M}.log", f"boot of {vc}")
    if not dry_run.is_on():
        _remove_old(folder)
    return log


def _remove_old(folder: Path) -> None:
    """Remove the oldest logs of boots beyond `MAX_LOGS`; others do so at the same time."""
    logs: list[tuple[float, Path]] = []
    with suppress(OSError):  # the next boot does it
        for path in folder.iterdir():
            if _NAME_OF_BOOT.search(path.name):
                with suppress(FileNotFoundError):
                    logs.append((path.lstat().st_mtime, path))
        for _, path in sorted(logs)[:-MAX_LOGS]:
            path.unlink(missing_ok=True)


def check_level(command: Command) -> None:
    """UserError unless the parameter loglevel is absent or one of the words; the log is the same with each."""
    given = command.fillText("loglevel", "INFO")
    if given.upper() not in _LEVELS:
        raise UserError(
            f"loglevel must be {', '.join(_LEVELS[:-1])} or {_LEVELS[-1]}, not {one_line(given)[:40]!r}"
        )
