"""What every command does that has revoked certificates: all nodes get to know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.certificates import deploy_revocation_list
from rocks.errors import EXIT_SOME_HOSTS_FAILED

if TYPE_CHECKING:
    from collections.abc import Collection

    from rocks.commands._framework.base import Command


def deploy_revocation_list_to_nodes(command: Command, passing_over: Collection[str] = ()) -> None:
    """Carry the list to all nodes that have a certificate, but for some; a line, and exit status 3, for each that it
    did not get to.
    """
    for node, error in deploy_revocation_list(command.db, passing_over).items():
        command.notify(
            f"Warning: {node} does not know that yet, and goes on with transfers that are open: {error}; "
            f"when it answers: rocks sync host certificate {node}"
        )
        command.exit_status = EXIT_SOME_HOSTS_FAILED
