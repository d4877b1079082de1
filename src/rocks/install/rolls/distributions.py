"""Add and remove distributions in the database; rocks create distro makes their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.names import check_plain_name
from rocks.install.rolls import distribution_records as distributions
from rocks.inventory import appliance_records as appliances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

_LONGEST = 32


def add_distribution(database: Database, name: str) -> None:
    """Add a distribution; UserError unless its name is valid and unused."""
    check_plain_name("distribution", name, _LONGEST)
    if appliances.find_name(database, "distributions", name):
        raise UserError(f'distribution "{name}" already exists; rocks list distribution shows all')
    distributions.insert_distribution(database, name)


def remove_distributions(database: Database, names: Sequence[str]) -> None:
    """Remove the distributions; UserError, and no change, when a membership uses one of them. Files stay."""
    used = distributions.first_membership_of(database, names)
    if used is not None:
        raise UserError(
            f'cannot remove distribution "{used[0]}": hosts of the membership {used[1]} are installed from it; '
            "rocks list membership shows all memberships"
        )
    distributions.delete_distributions(database, names)
