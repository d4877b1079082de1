"""The leases a host knows of: for each virtual machine the highest token it has seen, which it never goes below.

A domain runs under the token in its XML. One with a lower token than the remembered number belongs to a
lease that was taken over; it must not run here any more, whoever tries to start it.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional

from rocks.devices.state_folder import ensure_folder, locked
from rocks.errors import IncoherentError, StateError, UserError
from rocks.files import write_file

# one path component, not hidden, and not the name of a lock file
_NAME = re.compile(r"(?!.*\.lock\Z)[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


class Leases:
    """The numbers in the folder `leases` below the state folder, a file for each virtual machine."""

    def __init__(self, state_folder: Path) -> None:
        self._folder = state_folder / "leases"

    @contextmanager
    def held(self, name: str, deadline_seconds: float) -> Iterator[None]:
        """Hold a virtual machine against all other requests on this host. BusyError when not had in time."""
        path = self._path(check_name(name))
        lock = path.with_name(path.name + ".lock")
        busy = f"another command is at work on {name} on this host; try again when it has ended"
        with locked(lock, shared=False, deadline_seconds=deadline_seconds, busy=busy):
            yield

    def remembered(self, name: str) -> Optional[int]:
        """The highest token seen, None when there was none. IncoherentError when the file holds anything else."""
        try:
            text = self._path(check_name(name)).read_text("ascii", "replace")
        except FileNotFoundError:
            return None
        if not re.fullmatch(r"[0-9]{1,19}\n", text):
            raise IncoherentError(f"the lease of {name} in {self._path(name)} is no number: {text[:40]!r}")
        return int(text)

    def admit(self, name: str, token: int) -> None:
        """Refuse a token that has been overtaken, remember one that is higher than all before.

        StateError for the former. To be called while the virtual machine is held.
        """
        known = self.remembered(name)
        if known is not None and token < known:
            raise StateError(
                f"{name} was asked for under lease {token}, but this host has seen lease {known}: "
                "somebody else has taken it over since"
            )
        if known is None or token > known:
            ensure_folder(self._folder)
            write_file(self._path(name), f"{token}\n")

    def _path(self, name: str) -> Path:
        return self._folder / name


def check_name(name: str) -> str:
    """The name itself. UserError unless it can be a domain's and a file's name alike."""
    if not _NAME.match(name):
        raise UserError(
            f"{name[:80]!r} is no name of a virtual machine: letters, digits, '.', '_' and '-' only, "
            "the first one a letter or digit, at most 128, and not ending in .lock"
        )
    return name
