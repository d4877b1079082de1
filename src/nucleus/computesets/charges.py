"""What a batch system that counts has charged is stored for owners: Nucleus does not count it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.mirror import computesets, identity
from nucleus.records import Account

if TYPE_CHECKING:
    from nucleus.backends.batch import Batch
    from nucleus.mirror.pool import Guard


def store_charges(guard: Guard, batch: Batch) -> None:
    """Store the charges of sets, and limit and use of each allocation, as far as they are known.

    HostError while the batch system does not answer: what is stored stays.
    """
    with guard.transaction() as session:
        has_ended = computesets.uncharged_sets(session)
        allocations = [name for name, _ in identity.list_allocations(session)]
    charges = batch.charges(has_ended) if has_ended else {}
    accounts = batch.accounts(allocations) if allocations else {}
    with guard.transaction() as session:
        for name, charge in charges.items():
            if has_ended[name] and charge.is_final:
                changed = {"charged_seconds": charge.seconds, "charged_so_far_seconds": None}
            else:
                changed = {"charged_so_far_seconds": charge.seconds}
            session.update("computeset", changed, name=name)
        for name in allocations:
            minutes = (
                accounts[name.lower()]._asdict()
                if name.lower() in accounts
                else dict.fromkeys(Account._fields)
            )
            session.update("allocation", minutes, name=name)
