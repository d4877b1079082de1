"""Names of volumes, snapshots and devices of an image; pure. Volumes are `<pool>/<zvol>`, zvol being `<vm>-vol`."""

from __future__ import annotations

import hashlib
import re
import time
import uuid

TARGET_PREFIX = "iqn.2001-04.com."
HOLD_TAG = "imgstore_base"
SEED_FOLDER = ".seed"
ARRIVING_FOLDER = ".arriving"
_SNAPSHOT = re.compile(r"img-\d+-\d+-\d{8}T\d{6}Z\Z")
_QUARANTINED = re.compile(r"-quarantine-\d+(?:-\d+)?\Z")
_EPOCH = re.compile(r"[0-9]{1,18}")
_AUTHORITY = re.compile(r"[^a-z0-9.-]")


def snapshot_name(epoch: int, sequence: int, now_seconds: int) -> str:
    """For example `img-7-3-20260131T235959Z`; the time is for readers, order is by epoch and sequence."""
    return f"img-{epoch}-{sequence}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now_seconds))}"


def has_automatic_name(snapshot: str) -> bool:
    """Whether the name is one of `snapshot_name`, and not a foreign snapshot's."""
    return _SNAPSHOT.match(snapshot) is not None


def target_name(nas: str, zvol: str, epoch: int) -> str:
    """The iSCSI target of an image in an epoch; never used again.

    iSCSI names are lower case; other characters are written as `-xx` in hexadecimal.
    """
    return f"{target_prefix(nas)}{_iscsi(zvol)}.{epoch}"


def is_target_of(target: str, nas: str, zvol: str) -> bool:
    """Whether it is the target of an image in any epoch."""
    prefix, dot, epoch = target.rpartition(".")
    return bool(dot) and epoch.isdigit() and prefix == f"{target_prefix(nas)}{_iscsi(zvol)}"


def is_earlier_target(target: str, other: str) -> bool:
    """Whether the target is of an earlier epoch of the image whose target is the other."""
    (name, _, epoch), (name_now, _, epoch_now) = target.rpartition("."), other.rpartition(".")
    return name == name_now and epoch.isdigit() and epoch_now.isdigit() and int(epoch) < int(epoch_now)


def target_prefix(nas: str) -> str:
    """The prefix of all target names of a NAS."""
    return f"{TARGET_PREFIX}{_iscsi(nas)}:"


def unit_serial(image_id: str, epoch: int) -> str:
    """The serial of the disk, by which a host recognises the export of this epoch."""
    return hashlib.blake2b(f"{image_id} {epoch}".encode()).hexdigest()[:16]


def guest_device(zvol: str) -> str:
    """The device-mapper device that a guest opens, for its whole life."""
    return f"{zvol}-snap"


def origin_device(zvol: str) -> str:
    """The device-mapper device below it, which can be switched from the NAS to the copy."""
    return f"{zvol}-origin"


def temp_write_volume(pool: str, zvol: str) -> str:
    """The volume that takes a guest's writes while its image is copied."""
    return f"{pool}/{zvol}-temp-write"


def seed_volume(pool: str, zvol: str) -> str:
    """The volume into which a copy is received."""
    return f"{pool}/{SEED_FOLDER}/{zvol}"


def arriving_volume(pool: str, zvol: str) -> str:
    """The volume into which a NAS receives an image that is moved to it; no image has a name with a further slash."""
    return f"{pool}/{ARRIVING_FOLDER}/{zvol}"


def left_image_id(image_id: str, nas: str, epoch: int) -> str:
    """The id of the former volume of an image that was moved away: the image itself has its id on the other NAS."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{image_id} left on {nas} in epoch {epoch}"))


def quarantine_volume(volume: str, epoch: int) -> str:
    """The name of a volume in quarantine: obsolete, and destroyed only when its NAS has all of it, or by a command."""
    return f"{volume}-quarantine-{epoch}"


def is_quarantined(volume: str) -> bool:
    """Whether the name is that of a volume in quarantine."""
    return _QUARANTINED.search(volume) is not None


def restoring_volume(volume: str, epoch: int) -> str:
    """The clone of an earlier snapshot while it is restored; named by the epoch, so that each restore has its own."""
    return f"{volume}-restoring-{epoch}"


def before_volume(volume: str, epoch: int) -> str:
    """The former volume after an earlier snapshot was restored."""
    return f"{volume}-before-{epoch}"


def is_former(volume: str, other: str) -> bool:
    """Whether the other volume is a former content of this one, by its name."""
    begin = before_volume(volume, 0)[:-1]
    return other.startswith(begin) and _EPOCH.fullmatch(other, len(begin)) is not None


def cursor_bookmark(guid: str, host: str) -> str:
    """The bookmark by which a host records the last snapshot that the NAS received; the guid makes a clash harmless."""
    return f"imgstore_CURSOR_G_{int(guid):016x}_H_{host}"


def _iscsi(text: str) -> str:
    return _AUTHORITY.sub(lambda match: f"-{ord(match.group()):02x}", text.lower())
