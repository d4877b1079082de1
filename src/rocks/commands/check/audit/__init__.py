"""`rocks check audit`"""

from __future__ import annotations

import rocks.commands
from rocks.core.errors import IncoherentError
from rocks.trust.audit import read_chain, read_head
from rocks.trust.audit_entries import START, chain_faults

_MOST = 50


class Command(rocks.commands.Command):
    """
    Check the audit log: whether an entry was altered, removed or moved. Each entry has a digest over its content and
    the digest before it, and the database has the last one. The exit status is not 0 if the log is not complete.

    An administrator of the database can make all digests anew. The journal of this machine has
    the digest of each entry too, and so has a log server to which the journal is forwarded: the digest that is printed
    here must be the one that was logged there.

    <example cmd='check audit'>
    Print the number of entries and the last digest, or each place that is not as it was written.
    </example>

    <related>list audit</related>
    <related>check site</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print what was found."""
        head, last = read_head(self.db)
        faults = chain_faults(read_chain(self.db, last), head)
        found = 0
        for found, fault in enumerate(faults, 1):
            if found <= _MOST:
                self.addLine(fault)
        if found > _MOST:
            self.addLine(f"and {found - _MOST} more")
        if not found:
            number, digest = head or START
            self.addLine(f"{number} entries, complete; digest of the last: {digest}")
            return
        self.endOutcomes(
            {
                "audit": IncoherentError(
                    f"the audit log is not as it was written, at {found} place{'s' if found > 1 else ''}; compare it "
                    "with the journal: journalctl -t rocksaudit"
                )
            },
            1,
        )
