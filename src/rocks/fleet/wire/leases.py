"""Tokens of leases: the lease epoch of a cluster database above, a counter below (decision 31)."""

from __future__ import annotations

EPOCH_TOKENS = 2**32
"""How many tokens an epoch has. Each token of an epoch is above all tokens of earlier epochs."""
MAX_EPOCHS = 2**31
"""Epochs are below this, and their tokens below 2**63."""


def epoch_of(token: int) -> int:
    """The lease epoch that a token belongs to; 0 for tokens from before there were epochs."""
    return token // EPOCH_TOKENS
