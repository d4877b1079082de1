"""Shapes of requests and answers, at the border only: they check what comes in, and describe what goes out."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

NODE_NAME = r"^[A-Za-z0-9_-]{1,63}$"
IMAGE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}\.iso$"
VC_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,39}$"
_NUMBER_TEXT = r"^[0-9]{1,9}$"
RESERVATION_NAME = r"^[\w.,-]{0,80}$"
LINE = r"^[^\x00-\x1f\x7f]*$"

FORMS = {
    NODE_NAME: "letters, digits, _ and -, at most 63 of them",
    IMAGE_NAME: "letters, digits and . _ + -, at most 128 of them, that end with .iso",
    VC_NAME: "letters, digits and . _ + -, at most 40 of them",
    RESERVATION_NAME: "letters, digits and _ . , -, at most 80 of them",
    LINE: "a text without control characters",
}
"""Pattern of a text → what it means."""


def _no_boolean(given: Any) -> Any:
    """To Python, true is 1."""
    if isinstance(given, bool):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return given


def _no_number(given: Any) -> Any:
    """To Pydantic, a number, also as text, is the seconds since 1970."""
    if not isinstance(given, str) or not re.match(r"\d{4}-", given):
        raise PydanticCustomError("datetime_type", "Input should be a valid datetime")
    return given


NO_BOOLEAN = BeforeValidator(_no_boolean)
NO_NUMBER = BeforeValidator(_no_number)
Time = Annotated[
    AwareDatetime,
    Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC)),
    NO_NUMBER,
]
NodeName = Annotated[str, StringConstraints(pattern=NODE_NAME)]
NumberText = Annotated[str, StringConstraints(pattern=_NUMBER_TEXT)]
Text = Annotated[str, StringConstraints(max_length=4096)]
EMPTY_IS_ABSENT = BeforeValidator(lambda given: None if given == "" else given)
Moment = Annotated[str | None, Field(description="RFC 3339, UTC", json_schema_extra={"format": "date-time"})]


class Answer(BaseModel):
    """What the service says; later versions may say more."""

    model_config = ConfigDict(extra="allow")


class Request(BaseModel):
    """What a client says: an unknown key is refused by its name."""

    model_config = ConfigDict(extra="forbid")


class Interface(Answer):
    """An Ethernet interface."""

    mac: str
    iface: str
    ip: str | None


class _Node(Answer):
    name: str
    state: str | None = Field(description="of the machine, as the hypervisor says it; null: unknown")
    memory: int | None = Field(description="MB")
    cpus: int | None
    disksize: int | None = Field(description="GB")
    type: str
    interface: list[Interface]
    power: Literal["on", "off", "paused", "crashed", "unknown"]
    power_since: Moment
    image_state: str | None = Field(description="unmapped, mapped, NAS->VM or NAS<-VM; null: not on a NAS")
    admin_disabled: bool
    host_state: str = Field(
        description="one sentence for owners: whether its host answers, and what they can do"
    )
    iso: str | None = Field(description="the image in the CD drive from the next power-on")
    iso_active: str | None = Field(description="the image in the CD drive since the last power-on")
    observed_at: Moment
    stale: bool = Field(description="the site has not answered for a while; this is its last answer")


class Frontend(_Node):
    """The frontend of a virtual cluster."""

    pub_ip: str | None
    pub_mac: str | None
    pub_netmask: str | None
    gateway: str | None
    dns1: str | None
    dns2: str | None
    ntp: str | None
    frontend_state: Literal["ready", "synced", "syncing"] = Field(description="where its disk is")


class Compute(_Node):
    """A compute node of a virtual cluster."""

    cluster: str
    active_computeset: int | None
    active_computeset_state: str | None
    compute_state: Literal["ready", "synced", "syncing"] = Field(description="where its disk is")


class Cluster(Answer):
    """A virtual cluster."""

    name: str
    description: str
    project: str | None
    vlan: int | None
    allocations: list[str]
    frontend: Frontend | None
    computes: list[Compute]
    generation: int
    observed_at: Moment
    stale: bool


OperationState = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class Operation(Answer):
    """A change that was asked for, and what became of it."""

    id: str
    kind: str
    state: OperationState
    cluster: str | None
    node: str | None
    computeset: int | None
    image: str | None = Field(
        description="the image that attach_iso inserts (null: none), add_image adds, remove_image removes, or "
        "reinstall uses (null: the node's)"
    )
    actor: str
    progress: list[dict[str, Any]]
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    created: Moment
    started: Moment
    ended: Moment


class ProblemError(Answer):
    """A wrong value."""

    pointer: str
    detail: str


class Remedy(Answer):
    """What helps: a code, and what its sentence is about."""

    code: str = Field(description="such as list-tokens or get-scope")
    user: str | None = Field(None, description="whom it is about")
    scope: str | None = Field(None, description="the scope that is missing")
    scopes: str | None = Field(None, description="it, and those that are there, with commas")
    targets: list[str] | None = Field(
        None, description="CLUSTER for a frontend, CLUSTER NODES for computes as a hostlist"
    )


class ProblemDetails(Answer):
    """A refusal (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[ProblemError] = []
    operation: str | None = None
    reason: str | None = Field(None, description="what happened: detail without what to do")
    remedy: Remedy | None = Field(None, description="what to do, for programs with words of their own for it")


class NewName(Request):
    """The name that users see."""

    name: NodeName


class NewNames(Request):
    """Old names and new ones; all change at once, so that names can be swapped."""

    map: dict[str, NodeName] = Field(max_length=10000, min_length=1)


class IsoName(Request):
    """An image; empty: none."""

    iso_name: Text


class IsoNodes(Request):
    """An image (empty: none) for several nodes; a list as `vm-[0-3]`; the frontend without `nodes`."""

    iso_name: Text
    nodes: Text | None = None


class FreshDisk(Request):
    """The name of the node once more, whose disk is lost, and what its new one is made from."""

    confirm: Text
    image: Text | None = Field(
        None, description="of GET /v1/image/disk; without it, the image that the node has"
    )


class ClonedDisk(Request):
    """The name of the node once more, whose disk is lost, and the compute whose disk is cloned."""

    confirm: Text
    original: Text


class Image(Answer):
    """An ISO image."""

    name: str = Field(description="public/NAME or project/PROJECT/NAME")
    size: int = Field(description="bytes")
    sha256: str | None
    md5: str | None
    state: Literal["uploading", "ready", "deleting"]
    uploaded_by: str | None
    created: Moment
    in_use: int = Field(description="nodes that have it in their CD drive")
