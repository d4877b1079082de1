"""The responsibility that owners acknowledge before their first power-on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.api.problems import Problem, Remedy
from nucleus.mirror import identity

if TYPE_CHECKING:
    from nucleus.api.service import Call, Change
    from nucleus.records import Cluster


def demand_acknowledgement(call: Call) -> None:
    """Problem unless the caller has acknowledged the responsibility, or the site does not ask for it."""
    if call.caller.user.acknowledged_at is None and call.service.configuration.responsibility.required:
        raise Problem(
            "acknowledgement-needed",
            "before your first power-on, acknowledge what you are responsible for",
            remedy=Remedy("acknowledge", {"user": call.caller.actor}),
        )


def demand_leader(change: Change, cluster: Cluster) -> None:
    """Problem unless the leader of the cluster's project has acknowledged it too, or the site does not ask for it."""
    settings = change.call.service.configuration.responsibility
    if not settings.leader_required or cluster.project_id is None:
        return
    leader = identity.leader_of(change.session, cluster.project_id)
    if leader is None:
        raise Problem(
            "acknowledgement-needed",
            f"the project {cluster.project} has no leader who has acknowledged it; ask the site's operators",
        )
    if leader.acknowledged_at is None:
        raise Problem(
            "acknowledgement-needed",
            f"{leader.username} leads the project {cluster.project}, and has to acknowledge the responsibility too;"
            f" ask {leader.username} to run `comet acknowledge`",
        )
