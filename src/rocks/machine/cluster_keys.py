"""The key with which the frontend of a virtual cluster reaches its computes; made at the first start of one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import IncoherentError, StateError
from rocks.library.guest_images import CLUSTER_KEY_ATTRIBUTE
from rocks.trust import secret_records as secrets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.trust.cluster_key_files import ClusterKey


def ensure_cluster_keys(database: Database, frontends: Sequence[str]) -> dict[str, ClusterKey | StateError]:
    """Frontend → the key of its cluster, or why it has none. Commits: what a guest has been given stays known."""
    if not frontends:
        return {}
    from rocks.trust.cluster_key_files import (
        new_key,
        read_key,
    )  # late: its library takes longer than a start's other modules

    missing = set(frontends) - set(_stored(database, frontends))
    for frontend in sorted(missing):
        secrets.add(database, frontend, CLUSTER_KEY_ATTRIBUTE, new_key())
    if missing:
        database.commit()  # of two starts at once, the first key holds for both
    found: dict[str, ClusterKey | StateError] = {}
    for frontend, text in _stored(database, frontends).items():
        try:
            found[frontend] = read_key(text, f"root@{frontend}")
        except IncoherentError as error:
            found[frontend] = StateError(
                f"the key of the cluster {frontend} cannot be used: {error}; rocks remove host sec_attr {frontend} "
                f"{CLUSTER_KEY_ATTRIBUTE} has the next start make another, for machines that are set up after that"
            )
    return found


def _stored(database: Database, frontends: Sequence[str]) -> dict[str, str]:
    spelled = {frontend.lower(): frontend for frontend in frontends}
    return {
        spelled[host.lower()]: value
        for host, name, value, _ in secrets.read_of_hosts(database, frontends)
        if name.lower() == CLUSTER_KEY_ATTRIBUTE
    }
