"""The protocol by which a start gets what it needs of other rooms.

There is no verb for giving back: what is claimed ends with the machine's lease. The table of a new claim is added to
`leases.lease.PARTS`. Volumes of NASes are mapped by a plugin of `start host vm`, since a site may have its
own storage.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import field
from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rocks.core.errors import RocksError
    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import HostFacts
    from rocks.fleet.wire.placement import ShapeQuestion
    from rocks.machine.lease_grants import Attempt


@dataclass(frozen=True)
class Questions:
    """What the facts of hosts must include: host → paths of files, and host → its cores and memory."""

    files: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    shapes: dict[str, ShapeQuestion] = field(default_factory=dict)


class Provider:
    """One for each start command; it may remember between its verbs, which are called in this order.

    A verb that a provider does not need does nothing. The error of a machine is that of its attempt; each verb gets the
    attempts without one. `notify` prints a line for the operator.
    """

    def __init__(self, database: Database, notify: Callable[[str], None]) -> None:
        self.database, self.notify = database, notify

    def ask(self, attempts: Sequence[Attempt], questions: Questions) -> None:
        """Add what has to be known of the hosts; the machine of an attempt may be changed, before its spec is made.

        Hosts are asked for leases and fences, too. One without any question is not asked before the start.
        """

    def claim(self, attempts: Sequence[Attempt], facts: Mapping[str, HostFacts | RocksError]) -> None:
        """Claim for the machines, none of which is saved, in the database and in their requests.

        `facts` are those of the hosts that were asked. The caller commits before a host is asked to change anything.
        """

    def complete(self, attempts: Sequence[Attempt]) -> None:
        """Bring to the hosts, and into the requests, what needs no claim. May take long: nothing is locked."""
