"""The responsibility that owners acknowledge before their first power-on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from nucleus.api.problems import Problem, Remedy, unavailable
from nucleus.mirror import identity

if TYPE_CHECKING:
    from nucleus.api.service import Call, Change
    from nucleus.configuration import ResponsibilitySettings
    from nucleus.records import Cluster

DEFAULT_TEXT = """\
You administer the virtual clusters of your projects yourself. You are responsible for what runs on them: for the
systems that you install and their updates, for the accounts that you make and the keys that you give away, for what
the nodes serve to the network, and for keeping the rules of this site. The site is responsible for the hosts, the
storage and the network below. It may stop a node that harms others, and informs you then.
"""


def responsibility(settings: ResponsibilitySettings) -> tuple[str, str]:
    """The text that owners acknowledge, and its version. Problem when the site's file cannot be read."""
    text = DEFAULT_TEXT
    if settings.text_file:
        try:
            text = Path(settings.text_file).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            raise unavailable(
                f"the site's {Path(settings.text_file).name} cannot be read; report it to its operators"
            ) from None
    return text, hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


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
