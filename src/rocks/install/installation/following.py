"""Waits for installations to their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import HostError, RocksError
from rocks.install.installation.records import Installation, list_installations
from rocks.install.installation.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rocks.database.connection import Database

_SECONDS, _TRIED_SECONDS = 2.0, 0.1
_QUIET_SECONDS = 600.0
_FAILED = {
    State.FAILED: "its console has a shell",
    State.FIRST_BOOT_FAILED: "correct the cause; it repeats its profile at each start",
}


def claim_installations(database: Database, names: Sequence[str]) -> None:
    """Make these hosts members of the site by this command alone, until it ends.

    BusyError, at once, while another command does it for one of them.
    """
    database.lock_all([f"the installation of {name}" for name in names], _TRIED_SECONDS)


def follow_installations(database: Database, names: Sequence[str]) -> Iterator[tuple[str, str | RocksError]]:
    """(host, its state and last report) at each change, until no installation is under way; those that failed then.

    Hosts that the roll's installer has not installed are left out. A host that has failed may be repaired while others
    are installed: its error is the last that it reported. After ten minutes without a change, those that are waited for
    are named, and how the others go on. Reads every two seconds.
    """
    latest: dict[str, str] = {}
    quiet = Deadline(_QUIET_SECONDS)
    while True:
        found = dict(list_installations(database, names))
        database.end_reading()
        for name, one in found.items():
            text = _text(one)
            if latest.get(name) != text:
                latest[name] = text
                quiet = Deadline(_QUIET_SECONDS)
                yield name, text
        waiting = [
            name
            for name, one in found.items()
            if one.state is not State.CONFIGURED and one.state not in _FAILED
        ]
        if not waiting:
            break
        if quiet.passed():
            quiet = Deadline(_QUIET_SECONDS)
            for name in waiting:
                yield (
                    name,
                    f"{latest[name]}; no report for 10 minutes: Ctrl-C ends this wait, and rocks install host of "
                    "the other hosts goes on with those",
                )
        wait_seconds(_SECONDS)
    for name, one in found.items():
        if one.state in _FAILED:
            yield name, HostError(f"{name} {_text(one)}; {_FAILED[one.state]}")


def _text(one: Installation) -> str:
    """The state and what was reported; most reports begin with the state's name."""
    state, report = one.state.value, one.report
    if report.partition(" ")[0].replace("-", " ") == state:
        report = report.partition(" ")[2]
    return f"{state}: {report}" if report else state
