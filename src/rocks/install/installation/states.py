"""The states of a host's installation, and which of its reports leads to which. Pure.

A report is a line "WORD DETAIL…" of the installer (`roll/installer/initramfs/lib/report.sh`) or of a host's first boot.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from rocks.core.errors import UserError

LONGEST_REPORT = 900


class State(enum.StrEnum):
    """A state, as it is stored and shown."""

    WAITING = "waiting"
    """The host is to be installed, and has not asked for its plan."""

    INSTALLING = "installing"
    FAILED = "failed"
    """The installer stopped; its console has a shell."""

    INSTALLED = "installed"
    """The system is complete; the host starts from its disk."""

    FIRST_BOOT = "first boot"
    """The profile is being executed."""

    FIRST_BOOT_FAILED = "first boot failed"
    CONFIGURED = "configured"


class Report(NamedTuple):
    """A report: its first word, and the rest."""

    word: str
    detail: str

    @property
    def text(self) -> str:
        """The whole line."""
        return f"{self.word} {self.detail}".rstrip()


UNFINISHED = frozenset((State.WAITING, State.INSTALLING, State.FAILED))
"""The installer may still be at work. A plan that is asked for now has the same number."""

MAY_FETCH_PROFILE = frozenset((State.INSTALLED, State.FIRST_BOOT, State.FIRST_BOOT_FAILED))
"""The system is installed, and its profile has not yet succeeded."""

HOST_KEY, ADAPTERS = "host-key", "adapters"
_NEXT = {
    "started": State.INSTALLING,
    ADAPTERS: State.INSTALLING,
    "partitioning": State.INSTALLING,
    "unpacking": State.INSTALLING,
    "configuring": State.INSTALLING,
    HOST_KEY: State.INSTALLING,
    "boot-loader": State.INSTALLING,
    "failed": State.FAILED,
    "installed": State.INSTALLED,
    "first-boot": State.FIRST_BOOT,
    "first-boot-failed": State.FIRST_BOOT_FAILED,
    "configured": State.CONFIGURED,
}
_OF_FIRST_BOOT = (State.FIRST_BOOT, State.FIRST_BOOT_FAILED, State.CONFIGURED)


def read_report(body: bytes) -> Report:
    """The report in the body of a request: one line of plain ASCII. UserError for anything else."""
    if len(body) > LONGEST_REPORT or not all(32 <= byte < 127 for byte in body):
        raise UserError(f"a report is one line of at most {LONGEST_REPORT} plain characters")
    word, _, detail = body.decode("ascii").strip().partition(" ")
    if word not in _NEXT:
        raise UserError(
            f'the report "{word[:40]}" is unknown; installer and frontend may be of different releases'
        )
    return Report(word, detail.strip())


def next_state(state: State, report: Report) -> State:
    """The state after a report. UserError for one of the installer after the end of its installation, and for another
    than `configured` of a configured host: one that is configured again and again would keep all others waiting.
    `installed` may be repeated: its answer may have been lost. The first boot may report although it was never
    received: an operator may have started the host from its disk.
    """
    following, is_open = _NEXT[report.word], state is not State.CONFIGURED
    if (following in _OF_FIRST_BOOT and is_open) or state in UNFINISHED or following == state:
        return following
    raise UserError(
        f'the report "{report.word}" does not fit: the installation has ended, and is in the state "{state.value}"'
    )
