"""Deploys the revocation list after a command has revoked certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import EXIT_SOME_HOSTS_FAILED
from rocks.site.certificates import deploy_revocation_list

if TYPE_CHECKING:
    from collections.abc import Collection

    from rocks.commands._framework.base import Command


def deploy_revocation_list_to_nodes(
    command: Command, has_revoked: bool, skipped: Collection[str] = ()
) -> None:
    """Deploy the list to all nodes with a certificate except those in `skipped`.

    Where the command has revoked nothing, only if a killed one has left that. Each failure is a warning and sets exit
    status 3.
    """
    for node, error in deploy_revocation_list(command.db, has_revoked, skipped).items():
        command.notify(
            f"Warning: {node} has no current revocation list and continues open transfers: {error}; "
            f"when it responds, run rocks sync host certificate {node}"
        )
        command.exit_status = EXIT_SOME_HOSTS_FAILED
