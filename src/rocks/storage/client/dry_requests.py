"""What image storage is asked in a dry run: whether the image is as the change needs it; the change is printed."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional, Tuple, Type

from rocks.core import dry_run
from rocks.core.errors import BugError, Code, StateError
from rocks.core.units import size_text
from rocks.storage.client.questions import Query, images_of, question
from rocks.storage.wire import requests as wire
from rocks.storage.wire.base_names import is_base
from rocks.storage.wire.replies import (
    BaseRow,
    HeldRow,
    ImageAttributes,
    ImageRow,
    MadeBase,
    MadeClones,
    MadeVolume,
)

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

_NEEDS_NO_IMAGE = (
    wire.MapZvol,
    wire.AddZvol,
    wire.AddBase,
    wire.CloneZvols,
    wire.FreezeZvols,
    wire.AcceptZvol,
    wire.SetAttrs,
    wire.DelAttrs,
    wire.DelCopy,
)
_NEEDS_MAPPED = (wire.UnmapZvol, wire.PullZvol)
_NEEDS_UNMAPPED = (wire.DelZvol, wire.RestoreZvol, wire.MoveZvol, wire.GrowZvol)


def dry_answer(query: Query[Any], ask: Ask) -> Any:
    """The answer to a request that changes something, as if it had succeeded; `ask` sends a question.

    StateError where the daemon would refuse the request for the present state of the image; UnknownReplyError where
    what follows depends on the change.
    """
    request = query.request
    step = _STEPS.get(type(request))
    if step is None:
        raise BugError(f"a dry run does not know the request {type(request).__name__}; please report this")
    if isinstance(request, wire.DelZvol) and is_base(request.zvol):
        _check_base(query.node, request, ask(question(query.node, wire.ListBases())))
    elif not isinstance(request, _NEEDS_NO_IMAGE):
        _check_image(query.zvol, request, ask(images_of(query.node)))
    dry_run.would(query.node, step(request))
    return _answer(query.node, request)


def _check_base(node: str, request: wire.DelZvol, rows: Tuple[BaseRow, ...]) -> None:
    name = f"{request.zpool}/{request.zvol}"
    row = next((row for row in rows if (row.zpool, row.zvol) == (request.zpool, request.zvol)), None)
    if row is None:
        raise StateError(f"there is no base {name} on {node}; rocks list image bases=yes shows all")
    if row.clones:
        raise StateError(f"{name} is not destroyed: {row.clones} disks are clones of it")


def _check_image(zvol: str, request: Any, rows: Tuple[ImageRow, ...]) -> None:
    row: Optional[ImageRow] = next((row for row in rows if row.zvol == zvol), None)
    if row is None:
        raise StateError(f"ZVol {zvol} not found in database", code=Code.IMAGE_UNKNOWN)
    if isinstance(request, _NEEDS_MAPPED) and row.remotehost is None:
        raise StateError(f"ZVol {zvol} is not mapped", code=Code.IMAGE_NOT_MAPPED)
    if isinstance(request, _NEEDS_UNMAPPED) and row.remotehost is not None:
        raise StateError(f"ZVol {zvol} is mapped to {row.remotehost}", code=Code.IMAGE_MAPPED)


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
