"""The effects of a host. An effect reads the state and changes it where necessary; repeating it is harmless.

`sequences` orders them. The engine records stages; `copies` and `devices` have a handler for each of the others, which
takes the request (None when devices are rebuilt) and the image.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Tuple, Union

from rocks.storage.image.image import Stage


class RecordStage(NamedTuple):
    """Store the stage to rebuild from now on, with the request's epoch, pool and size.

    Target and serial are stored with it while the NAS's disk is needed.
    """

    stage: Stage


Name = Literal[
    # the copy and its volumes
    "ReadCopy",
    "EnsureQuarantined",
    "EnsureTempWrite",
    "EnsureTempWriteGone",
    "EnsureSeedPlace",
    "ReceiveSeed",
    "EnsureSeedNamed",
    "EnsureSeedSettled",
    "RequireCopyAt",
    "MarkDirty",
    "MarkClean",
    "MarkMerged",
    "MarkUnchanged",
    "RequireAllInSnapshot",
    "SnapshotCopy",
    "SendSnapshot",
    "AdvanceBase",
    "RollBack",
    # devices
    "RequireUnused",
    "RequireClosed",
    "EnsureDeviceGone",
    "EnsureOriginGone",
    "EnsureSession",
    "EnsureSessionGone",
    "EnsureSessionsGone",
    "EnsureRemoteOrigin",
    "EnsureLocalOrigin",
    "RequireTempWrite",
    "RequireTempWriteEmpty",
    "EnsureOverlayDevice",
    "EnsureMergeDevice",
    "WaitMerged",
    "EnsureLinearDevice",
]

HostEffect = Union[RecordStage, Name]
HostEffects = Tuple[HostEffect, ...]
