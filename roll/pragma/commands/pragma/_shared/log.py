"""The log of a boot, which schedulers of PRAGMA read over SSH: they search for the line "Allocated cluster NAME"."""

from __future__ import annotations

from pathlib import Path

from rocks.core import dry_run
from rocks.core.clock import utc_now
from rocks.core.errors import HostError, UserError
from rocks.core.files import ensure_folders, explain
from rocks.core.terminal import one_line


class Log:
    """A file to which lines are appended, each with its time; that it can be written is known from the beginning."""

    def __init__(self, given: str | None, folder: Path, vc: str) -> None:
        """`given` is the path that the user gave. UserError for a relative one, HostError when it cannot be written."""
        name = f"{vc}-{utc_now():%Y%m%d-%H:%M}.log"
        self.path = Path(given) if given else folder / name
        if not self.path.is_absolute() or "\0" in str(self.path):
            raise UserError(f"logfile must be an absolute path, not {one_line(str(self.path))[:100]!r}")
        self.write(f"boot of {vc}")

    def write(self, line: str) -> None:
        """Append the line. HostError when the file cannot be written."""
        if dry_run.is_on():
            return
        try:
            ensure_folders(self.path.parent, 0o755)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{utc_now():%Y-%m-%d %H:%M:%S} {one_line(line)}\n")
        except OSError as error:
            raise HostError(f"the log {self.path} cannot be written: {explain(error, self.path)}") from None
