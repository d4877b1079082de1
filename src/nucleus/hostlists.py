"""Lists of hosts, as `comet` and Slurm write them, read with the errors and the bound of the service."""

from __future__ import annotations

from comet.client.errors import UsageError
from comet.client.hostlists import LIMIT, expand_repeated
from rocks.core.errors import UserError

MAX_OWNERS_NODES = 10_000
"""Names in an owner's list: the service makes the names of several at once."""


def expand(text: str, most: int = LIMIT) -> list[str]:
    """As `expand_repeated`; no name for an empty text. UserError."""
    try:
        return expand_repeated(text, most) if text else []
    except UsageError as error:
        raise UserError(str(error)) from None
