"""`rocks list audit`"""

from __future__ import annotations

import rocks.commands
from rocks.core.clock import utc_now
from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.trust.audit import AuditFilter, read_events
from rocks.trust.audit_entries import read_moment

HEADER = (
    "number",
    "time",
    "user",
    "from",
    "exit",
    "error",
    "command",
    "ended",
    "source",
    "account",
    "roll",
    "version",
)
_SOURCES = ("command", "control", "service", "nucleus")
_IN_TERMINAL = 7


class Command(rocks.commands.Command):
    """
    List who changed what: the entries of the audit log, oldest first. Every command that changes something has an
    entry, also one that was refused; commands whose usage does not exist, or whose values are out of their ranges, have
    none. Times are in UTC.

    USER is the person of the login, also behind sudo and su. FROM is the address of the SSH client, as the session
    states it, and the terminal. What Nucleus does for owners has the USER nucleus: nucleus audit list has the owner.
    EXIT is ---- while a command is at work, and stays so when it was killed. ERROR is the kind of the error, and its
    code if it has one. Values of parameters that may be secrets are ***.

    A command that asks hosts has two entries: one when it begins, and one with its outcome. The list has one row for
    both, with the number of the first; so numbers may be left out. rocks check audit finds entries that are missing.

    json=yes also has when the command ended, the source of the change, the account, the roll and its version.

    <param optional='1' type='string' name='user' default='everybody'>
    Only changes by this person; a pattern such as al% selects several.
    </param>
    <param optional='1' type='string' name='command' default='all commands'>
    Only commands that begin so, such as "add host", or that match a pattern such as %compute-0-0%.
    </param>
    <param optional='1' type='string' name='since' default='no limit' unit='m, h or d after a number'>
    Only changes since then: a date or a time in UTC (2026-11-22, 2026-11-22T03:49), or a span before now (90m, 12h,
    7d).
    </param>
    <param optional='1' type='string' name='until' default='no limit' unit='m, h or d after a number'>
    Only changes until then, as with since.
    </param>
    <param optional='1' type='string' name='source' values='command,control,service,nucleus' default='all'>
    Only changes from there: command, control (remote control of owners), service or nucleus.
    </param>
    <param optional='1' type='bool' name='failed' default='no'>
    Only commands that failed, or whose outcome is not known.
    </param>
    <param optional='1' type='int' name='count' default='100' range='1..1000000' unit='entries'>
    The newest so many of the selected changes.
    </param>

    <example cmd='list audit since=7d'>
    The changes of the last week.
    </example>
    <example cmd='list audit user=alice command="remove host"'>
    The hosts and virtual machines that alice has removed.
    </example>
    <example cmd='list audit failed=yes json=yes'>
    What failed, as JSON.
    </example>

    <related>check audit</related>
    """

    IsAudited = False

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per event."""
        now = utc_now().replace(tzinfo=None)
        selected = AuditFilter(
            self.fillText("user", ""),
            self.fillText("command", ""),
            read_moment("since", self.fillText("since", ""), now),
            read_moment("until", self.fillText("until", ""), now),
            _read_source(self.fillText("source", "")),
            self.fillFlag("failed"),
            self.fillNumber("count"),
        )
        full = self.fillFlag("json") or bool(self.fillText("output-col"))
        width = len(HEADER) if full else _IN_TERMINAL
        rows = (row[:width] for row in read_events(self.db, selected))
        self.addTable(HEADER[:width], rows, trimOwner=False)


def _read_source(text: str) -> str:
    if text and text not in _SOURCES:
        raise UserError(f'source must be one of {", ".join(_SOURCES)}, not "{printable(text)}"')
    return text
