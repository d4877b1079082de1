"""What a batch system that counts has charged is stored for owners: Nucleus does not count it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.mirror import computesets, identity
from nucleus.records import Account

if TYPE_CHECKING:
    from nucleus.backends.batch import Batch
    from nucleus.mirror.pool import Guard


def store_charges(guard: Guard, batch: Batch) -> None:
    """Store the charges of sets that have ended, and limit and use of each allocation, as far as they are known.

    HostError while the batch system does not answer: what is stored stays.
    """
    with guard.transaction() as session:
        names = computesets.uncharged_sets(session)
        allocations = [name for name, _ in identity.list_allocations(session)]
    charges = batch.charges(names) if names else {}
    accounts = batch.accounts(allocations) if allocations else {}
    with guard.transaction() as session:
        for name, seconds in charges.items():
            session.update("computeset", {"charged_seconds": seconds}, name=name)
        for name in allocations:
            minutes = (
                accounts[name.lower()]._asdict()
                if name.lower() in accounts
                else dict.fromkeys(Account._fields)
            )
            session.update("allocation", minutes, name=name)
