"""What image storage is asked in a dry run: whether it would refuse the change, which is printed."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional, Type

from rocks.core import dry_run
from rocks.core.errors import BugError
from rocks.core.units import size_text
from rocks.storage.client.questions import Query, question
from rocks.storage.wire import requests as wire
from rocks.storage.wire.messages import write_request
from rocks.storage.wire.replies import HeldRow, ImageAttributes, MadeBase, MadeClones, MadeVolume

Ask = Callable[[Query[Any]], Any]
"""Sends a question and returns the answer; raises the error."""

_STEPS: Dict[Type[Any], Callable[[Any], str]] = {
    wire.MapZvol: lambda it: (
        f"map the image {it.zvol} to {it.remotehost}" + (", and copy it there" if it.sync else "")
    ),
    wire.AddZvol: lambda it: (
        f"make the volume {it.zpool}/{it.zvol}" + (f" from {it.origin}" if it.origin else "")
    ),
    wire.AddBase: lambda it: f"store the image {it.image} in {it.zpool}, unless it is there",
    wire.CloneZvols: lambda it: (
        f"make these volumes of {it.zpool} as clones, unless they exist: "
        + ", ".join(clone.zvol for clone in it.clones)
    ),
    wire.FreezeZvols: lambda it: f"have a snapshot of {', '.join(it.zvols)} in {it.zpool}",
    wire.UnmapZvol: lambda it: f"unmap the image {it.zvol}, and write its changes back",
    wire.DelZvol: lambda it: f"destroy the image {it.zvol}" + _grace(it.grace_seconds),
    wire.UndeleteZvol: lambda it: f"restore the removed image {it.zvol}",
    wire.AcceptZvol: lambda it: f"expect the image {it.zvol} of {it.source} in {it.zpool}",
    wire.MoveZvol: lambda it: f"move the image {it.zvol} to {it.nas}",
    wire.GrowZvol: lambda it: f"give the image {it.zvol} the size {size_text(it.size_bytes)}",
    wire.SetZvolAttrs: lambda it: f"set {_names(dict(it.changes))} of the image {it.zvol}",
    wire.SetAttrs: lambda it: f"set {_names(dict(it.attrs))}",
    wire.DelAttrs: lambda it: f"remove the attribute {', '.join(it.attrs)}",
    wire.PullZvol: lambda it: f"write the changes of the image {it.zvol} back",
    wire.CancelZvol: lambda it: f"cancel what is in progress for the image {it.zvol}",
    wire.RetryZvol: lambda it: f"retry the blocked image {it.zvol}",
    wire.AbandonZvol: lambda it: f"discard the changes of the image {it.zvol} that only its host has",
    wire.RestoreZvol: lambda it: f"make the snapshot {it.snapshot} the content of {it.zvol}",
    wire.HoldSnapshot: lambda it: (
        f"complete the snapshot of the image {it.zvol}"
        if it.guid
        else f"have a snapshot of the image {it.zvol}, and hold it"
    ),
    wire.ReleaseSnapshot: lambda it: f"release the snapshot {it.snapshot} of the image {it.zvol}",
    wire.DelCopy: lambda it: f"destroy the copy {it.volume}",
}

_UNCHECKED = (wire.MapZvol, wire.CloneZvols, wire.FreezeZvols, wire.DelCopy)
"""What may need an earlier step of the same dry run, which the NAS does not know; and what only a host knows."""


def dry_answer(query: Query[Any], ask: Ask) -> Any:
    """The answer to a request that changes something, as if it had succeeded; `ask` sends a question.

    The error with which the NAS would refuse the request; UnknownReplyError where what follows depends on the change.
    """
    request = query.request
    step = _STEPS.get(type(request))
    if step is None:
        raise BugError(f"a dry run does not know the request {type(request).__name__}; please report this")
    is_completion = isinstance(request, wire.HoldSnapshot) and request.guid  # of a snapshot that is not made
    if not isinstance(request, _UNCHECKED) and not is_completion:
        ask(question(query.node, wire.CheckRequest(write_request(request).decode())))
    dry_run.would(query.node, step(request))
    return _answer(query.node, request)


def _answer(node: str, request: Any) -> Any:
    if isinstance(request, wire.MapZvol):
        device = f"/dev/mapper/{request.zvol}"
        dry_run.assume_device(request.remotehost, device)
        return device
    if isinstance(request, wire.AddZvol):
        if request.importing:
            raise dry_run.unknown(node, f"the transfer of the content of {request.zvol}")
        return MadeVolume("0", request.size_bytes)
    if isinstance(request, wire.AddBase):
        return MadeBase("0", request.size_bytes, complete=True)
    if isinstance(request, wire.CloneZvols):
        return MadeClones(tuple(clone.zvol for clone in request.clones), (), ())
    if isinstance(request, wire.FreezeZvols):
        return dict.fromkeys(request.zvols, "SNAPSHOT")
    if isinstance(request, wire.HoldSnapshot):
        return HeldRow("SNAPSHOT", "0")
    if isinstance(request, wire.SetZvolAttrs):
        return ImageAttributes(request.zvol, persistent=dict(request.changes).get("persistent") != "no")
    return {} if isinstance(request, (wire.SetAttrs, wire.DelAttrs)) else None


def _names(values: Mapping[str, Optional[str]]) -> str:
    return ", ".join(f"{name}={value if value is not None else 'none'}" for name, value in values.items())


def _grace(seconds: int) -> str:
    return f" in {seconds // 3600} hours" if seconds else ""
