"""What must hold before a node is powered on: responsibility, the site's permission, disk, quota."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from nucleus.api.problems import Problem, Remedy, limited, unavailable
from nucleus.mirror import identity, operations, status
from nucleus.states import SYNCING, disk_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.api.service import Call, Change
    from nucleus.configuration import ResponsibilitySettings
    from nucleus.mirror.pool import Session
    from nucleus.records import Cluster, Node

LIMITS = {
    "vms": "virtual machines that run at the same time",
    "cpus": "processors of the machines that run",
    "memory_mb": "memory in MB of the machines that run",
    "disk_gb": "disks in GB of the machines that run",
    "sets": "computesets that have not ended",
    "walltime_minutes": "longest walltime of a computeset in minutes",
    "node_hours": "hours of nodes for each allocation",
    "images": "images",
    "image_bytes": "bytes of images",
    "consoles": "consoles that are open at the same time",
}
"""Limits of a project, all optional. `nucleus project limit` sets them; a new project has `identity.FIRST_LIMITS`."""

MAX_UNFINISHED = 1000
"""Changes of a project that wait or run."""

MAX_TOKENS = 100
"""Usable tokens of a user."""

_RECENT_SECONDS = 5.0
"""A state that was read so short a time ago is as good as read now."""

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


def demand_startable(node: Node) -> None:
    """Problem when the site has disabled the node, or its disk is on its way."""
    if node.admin_disabled:
        raise Problem("node-disabled", f"the site's operators have disabled {node.name}; ask them")
    if node.image_locked and disk_state(node.image_state, node.image_locked) == SYNCING:
        raise Problem(
            "node-syncing",
            f"the disk of {node.name} is on its way; wait until it is ready",
        )


def seen_ago(change: Change, cluster: Cluster, node: Node) -> str:
    """How old the known state of a node is, as a part of a sentence; '' when it was read just now."""
    read = [at for at in (cluster.observed_power, node.last_command_at) if at is not None]
    seconds = (change.call.now - max(read)).total_seconds() if read else 0.0
    return f" (as was seen {seconds:.0f} s ago)" if seconds > _RECENT_SECONDS else ""


def demand_quota(
    change: Change,
    cluster: Cluster,
    nodes: Sequence[Node],
    walltime_minutes: int | None = None,
    account: str = "",
) -> None:
    """Problem when the nodes, started now, would exceed a limit of the project. Locks the project's row."""
    if cluster.project_id is None:
        return
    project = identity.project_by_id(change.session, cluster.project_id, is_locked=True)
    if project is None or not project.limits:
        return
    used = status.project_usage(change.session, project.id, [node.id for node in nodes])
    requested = {
        "vms": used.vms + len(nodes),
        "cpus": used.cpus + sum(node.cpus or 0 for node in nodes),
        "memory_mb": used.memory_mb + sum(node.memory_mb or 0 for node in nodes),
        "disk_gb": used.disk_gb + sum(node.disk_gb or 0 for node in nodes),
    }
    if walltime_minutes is not None:
        requested["sets"] = used.sets + 1
        requested["walltime_minutes"] = walltime_minutes
    for name, value in requested.items():
        _demand(project, name, value)
    has_limit = "node_hours" in project.limits and change.call.service.configuration.batch.kind == "hosts"
    if walltime_minutes is not None and has_limit:  # Slurm counts and limits its accounts itself
        minutes = status.committed_minutes(change.session, account) + len(nodes) * walltime_minutes
        _demand(project, "node_hours", -(-minutes // 60), f" on {account}")


def _demand(project: identity.Project, name: str, value: int, where: str = "") -> None:
    limit = project.limits.get(name)
    if limit is not None and value > limit:
        raise Problem(
            "quota-exceeded",
            f"{LIMITS[name]}{where}: the project {project.name} would have {value}, and its limit is {limit};"
            f" {'delete images' if name.startswith('image') else 'end something'}, or ask the site's operators",
        )


def demand_short_queue(session: Session, project_id: int, added: int) -> None:
    """Problem when too many changes of the project were unfinished before these. Locks the project's row."""
    project = identity.project_by_id(session, project_id, is_locked=True)
    if project is not None and operations.count_unfinished(session, project_id) - added >= MAX_UNFINISHED:
        raise limited(
            f"{MAX_UNFINISHED} changes of the project {project.name} are not done yet; wait until some of them are",
            headers={"Retry-After": "10"},
            remedy=Remedy("list-operations"),
        )


def demand_few_tokens(session: Session, user_id: int) -> None:
    """Problem when the user has as many usable tokens as one may have. Locks the user's row."""
    usable = identity.usable_tokens(session, user_id)
    if len(usable) >= MAX_TOKENS:
        raise Problem(
            "quota-exceeded",
            f"you have {MAX_TOKENS} tokens, and nobody may have more; revoke those that nothing uses: for the longest"
            f" time nothing has used {', '.join(usable[:3])}",
            remedy=Remedy("list-tokens"),
        )


def demand_console_quota(session: Session, project_id: int | None, open_now: int) -> None:
    """Problem when the project may not have one console more than are open now."""
    project = identity.project_by_id(session, project_id) if project_id is not None else None
    if project is not None:
        _demand(project, "consoles", open_now + 1)


def demand_image_quota(
    session: Session, project_id: int | None, more_bytes: int, more_images: int = 0
) -> int | None:
    """The bytes that the project may have besides these; None where nothing limits them. Locks the project's row.

    Problem when its images would be more, or take more, than its limits.
    """
    if project_id is None:
        return None
    project = identity.project_by_id(session, project_id, is_locked=True)
    if project is None:
        return None
    count, size = status.image_usage(session, project_id)
    _demand(project, "images", count + more_images)
    _demand(project, "image_bytes", size + more_bytes)
    limit = project.limits.get("image_bytes")
    return None if limit is None else limit - size - more_bytes
