"""What a host's daemon does first after its own crash, or a reboot: each stage's devices are built again; pure."""

from __future__ import annotations

from typing import Optional

from rocks.storage.host import effects
from rocks.storage.host.effects import HostEffects
from rocks.storage.life import requests
from rocks.storage.life.host_image import HostImage
from rocks.storage.life.requests import HostRequest


def ends_rebuild(request: Optional[HostRequest]) -> bool:
    """Whether a request builds or removes all devices that a rebuild would make, so no rebuild is needed."""
    return isinstance(
        request, (requests.MapOverlay, requests.MapLinear, requests.MapRemote, requests.DropMap)
    )


def rebuild_effects(known: HostImage, open_request: Optional[HostRequest]) -> HostEffects:
    """The effects that a host performs first when it starts, so that guests can go on.

    Empty for an image that is being mapped or unmapped: no guest uses it, and the open request builds or removes the
    devices. A rebuild that waits for the NAS is repeated and delays no request; it ends when a stage is recorded, since
    the request builds the other devices.
    """
    zvol, pool = known.zvol, known.pool or ""
    if ends_rebuild(open_request):
        return ()
    if known.stage == "overlay":
        assert known.target is not None and known.serial is not None
        return (
            effects.EnsureSession(known.target, known.serial, known.size_bytes, read_only=True),
            effects.RequireTempWrite(zvol, pool),
            effects.EnsureRemoteOrigin(zvol, known.target),
            effects.EnsureOverlayDevice(zvol, pool),
        )
    if known.stage == "merging":
        return (
            effects.RequireTempWrite(zvol, pool),
            effects.EnsureLocalOrigin(zvol, pool),
            effects.EnsureMergeDevice(zvol, pool),
        )
    if known.stage == "linear":
        return (effects.EnsureLinearDevice(zvol, pool),)
    if known.stage == "remote":
        assert known.target is not None and known.serial is not None
        return (effects.EnsureSession(known.target, known.serial, known.size_bytes, read_only=False),)
    return ()
