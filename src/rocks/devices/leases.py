"""Leases on a host: the highest token seen for each virtual machine.

A domain runs under the token in its XML. A domain with a lower token than the stored one belongs to a lease that was
taken over and must not start on this host.
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
    """Tokens in the folder `leases` of the state folder, a file for each virtual machine."""

    def __init__(self, state_folder: Path) -> None:
        self._folder = state_folder / "leases"

    @contextmanager
    def held(self, name: str, deadline_seconds: float) -> Iterator[None]:
        """Lock a virtual machine against other requests on this host. BusyError when the deadline passes."""
        path = self._path(check_name(name))
        lock = path.with_name(path.name + ".lock")
        busy = f"another command is working on {name} on this host; try again later"
        with locked(lock, shared=False, deadline_seconds=deadline_seconds, busy=busy):
            yield

    def remembered(self, name: str) -> Optional[int]:
        """The highest token seen, or None. IncoherentError when the file does not contain a number."""
        try:
            text = self._path(check_name(name)).read_text("ascii", "replace")
        except FileNotFoundError:
            return None
        if not re.fullmatch(r"[0-9]{1,19}\n", text):
            raise IncoherentError(f"the lease of {name} in {self._path(name)} is not a number: {text[:40]!r}")
        return int(text)

    def admit(self, name: str, token: int) -> None:
        """Store a token that is higher than all before; StateError for a token below the highest.

        The caller holds the lock of the virtual machine.
        """
        known = self.remembered(name)
        if known is not None and token < known:
            raise StateError(
                f"{name} was requested under lease {token}, but this host has seen lease {known}: "
                "the virtual machine was taken over"
            )
        if known is None or token > known:
            ensure_folder(self._folder)
            write_file(self._path(name), f"{token}\n")

    def _path(self, name: str) -> Path:
        return self._folder / name


def check_name(name: str) -> str:
    """The name itself. UserError unless it is valid as the name of a domain and of a file."""
    if not _NAME.match(name):
        raise UserError(
            f"{name[:80]!r} is not a valid name of a virtual machine: letters, digits, '.', '_' and '-' only, "
            "the first one a letter or digit, at most 128, and not ending in .lock"
        )
    return name
