"""What Nucleus knows, as frozen records. Moments are aware, in UTC; sizes have their unit in the name."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

JsonObject = dict[str, Any]
"""A decoded JSON object of a column whose content its user defines."""


class Scope(NamedTuple):
    """Whose question it is. An operator sees everything; others see the clusters of their projects.

    `scopes` are the rights of the token: read, power, computeset, console, image, rename, cluster:destroy, admin.
    """

    user_id: int | None
    projects: frozenset[int]
    is_operator: bool = False
    scopes: frozenset[str] = frozenset()


SYSTEM = Scope(None, frozenset(), is_operator=True)
"""Poller, workers and controller, which look for nobody."""


class Interface(NamedTuple):
    """An Ethernet interface of a machine."""

    iface: str
    mac: str
    ip: str | None = None
    netmask: str | None = None
    subnet: str | None = None
    vlan: int | None = None


class Cluster(NamedTuple):
    """A virtual cluster. `generation` grows with every change of it, of its nodes and of their sets."""

    id: int
    name: str
    rocks_name: str
    description: str
    project_id: int | None
    project: str | None
    vlan: int | None
    username: str | None
    generation: int
    observed_topology: datetime | None
    observed_power: datetime | None
    observed_image: datetime | None
    gone_at: datetime | None


class Node(NamedTuple):
    """A machine of a cluster; `kind` is frontend or compute. `set_id`: the living computeset that has it, which may be
    merged into another. `last_power`: the last power that was known, which it has `power_since`;
    `unknown_since`: when its power was last lost sight of.
    """

    id: int
    cluster_id: int
    kind: str
    name: str
    rocks_name: str
    uuid: str | None
    physical_host: str | None
    cpus: int | None
    memory_mb: int | None
    disk_gb: int | None
    state: str | None
    image_state: str | None
    image_locked: bool | None
    gateway: str | None
    dns1: str | None
    dns2: str | None
    ntp: str | None
    type: str
    iso: str | None
    iso_active: str | None
    admin_disabled: bool
    last_command_at: datetime | None
    gone_at: datetime | None
    last_power: str | None
    power_since: datetime | None
    unknown_since: datetime | None
    set_id: int | None
    set_state: str | None
    merged_into: int | None

    @property
    def computeset(self) -> int | None:
        """The number of the living computeset that owners see it in."""
        return self.merged_into or self.set_id

    @property
    def machine(self) -> str:
        """The UUID, by which `rocks` finds this very machine: its name may be another owner's since the last poll.

        The name where the UUID is not known: the published `rocks` has none.
        """
        return self.uuid or self.rocks_name


class Account(NamedTuple):
    """What a batch system counts of an account, in minutes of nodes: its limit, used, and left to jobs that run.

    `left_minutes` is what its limit and those of the accounts above it leave, None without any; `limited_by` names the
    one above it that leaves the least.
    """

    limit_minutes: int | None
    used_minutes: int
    running_minutes: int
    left_minutes: int | None = None
    limited_by: str | None = None


class Operation(NamedTuple):
    """A change that was asked for: stored before it is begun. `progress` has a record for each finished step."""

    id: str
    kind: str
    target_cluster: int | None
    target_node: int | None
    target_set: int | None
    actor: str
    token_id: str | None
    project_id: int | None
    arguments: JsonObject
    state: str
    progress: list[JsonObject]
    result: JsonObject | None
    error: JsonObject | None
    created: datetime
    started: datetime | None
    ended: datetime | None
    attempts: int
    worker: str | None
    generation: int


class NewOperation(NamedTuple):
    """What is asked for. `unique_key` makes a second one with the same key the first one."""

    kind: str
    actor: str
    target_cluster: int | None = None
    target_node: int | None = None
    target_set: int | None = None
    token_id: str | None = None
    project_id: int | None = None
    arguments: JsonObject = {}
    delay_seconds: float = 0.0
    unique_key: str | None = None


class Event(NamedTuple):
    """A change, for those who watch; `id` grows in the order in which they become visible."""

    id: int
    at: datetime
    project_id: int | None
    cluster_id: int | None
    type: str
    target: str
    old: str | None
    new: str | None
    operation: str | None


class NewEvent(NamedTuple):
    """An event before it is stored. Its types: `api/events.py`."""

    type: str
    target: str
    old: str | None = None
    new: str | None = None
    project_id: int | None = None
    cluster_id: int | None = None
    operation: str | None = None
