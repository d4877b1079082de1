"""Shapes of computesets: as `nucleus.api.models`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from nucleus.api.models import (
    EMPTY_IS_ABSENT,
    NO_BOOLEAN,
    RESERVATION_NAME,
    Answer,
    Compute,
    Moment,
    NumberText,
    Request,
    Text,
)
from nucleus.limits import MAX_WALLTIME_MINUTES

SetState = Literal["created", "submitted", "running", "ending", "completed", "cancelled", "failed"]


class Computeset(Answer):
    """Nodes that were started together. Operators see more."""

    id: int
    state: SetState
    cluster: str
    account: str
    walltime_mins: int
    start_time: int | None = Field(description="seconds since 1970")
    reservation: str | None
    computes: list[Compute]
    created: Moment
    ended_at: Moment
    end_reason: str | None
    degraded: bool
    requested_by: str
    waiting: str | None = Field(description="why it has no hosts yet")
    place: int | None = Field(description="among the computesets that wait; 1 is the next")
    estimated_start: Moment
    walltime_end: Moment
    charged_seconds: int | None = Field(
        description="of nodes, as an ended set was charged; with Slurm null until its accounting has it"
    )
    charged_so_far_seconds: int | None = Field(
        description="the same, of a set that has not ended; null afterwards"
    )
    nodes_ready: int
    nodes_total: int


class Host(Request):
    """A node and the host that it shall run on."""

    name: str
    host: str | None = None


class NewComputeset(Request):
    """Which nodes shall run, for how long, and who pays."""

    cluster: Text
    computes: Annotated[
        Text | Annotated[list[Text | Host], Field(max_length=10000)] | None, EMPTY_IS_ABSENT
    ] = Field(None, description="a list as `vm-[0-3]`, or names")
    count: Annotated[
        Annotated[int, Field(ge=0, le=100000), NO_BOOLEAN] | NumberText | None, EMPTY_IS_ABSENT
    ] = Field(None, description="so many nodes that are free, instead of computes")
    allocation: Text | None = Field(None, description="the cluster's only one, if not stated")
    walltime_mins: Annotated[int, Field(ge=1, le=MAX_WALLTIME_MINUTES), NO_BOOLEAN] | NumberText | None = None
    reservation: Annotated[str, StringConstraints(pattern=RESERVATION_NAME)] | None = Field(
        None, description="of Slurm, where the site has it, for the allocation"
    )
    hosts: Annotated[Text | None, EMPTY_IS_ABSENT] = Field(
        None, description="for operators: hosts of the nodes, in their order"
    )
