"""Set and remove attributes of a NAS and of its images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.core.values import check_text
from rocks.storage.client import asking
from rocks.storage.volumes.access import open_storage
from rocks.storage.volumes.machine_locks import lock_machine_of
from rocks.storage.volumes.volume_names import check_volume_name
from rocks.storage.wire.requests import DelAttrs, GetAttrs, SetAttrs, SetZvolAttrs

if TYPE_CHECKING:
    from rocks.database.connection import Database

IMAGE_ATTRIBUTES = ("frequency", "nextsync", "uploadspeed", "downloadspeed", "persistent")
LONGEST_NAME = 128
LONGEST_VALUE = 4096


def set_storage_attribute(database: Database, nas: str, name: str, value: str) -> None:
    """Set an attribute of the NAS; `none` in any case stores null. UserError for an invalid name or value."""
    _check_name(name)
    check_text("value", value, LONGEST_VALUE)
    with open_storage(database) as storage:
        storage.ask(asking.question(nas, SetAttrs(((name, _value(value)),))))


def remove_storage_attribute(database: Database, nas: str, name: str) -> None:
    """Remove an attribute of the NAS. StateError when it has no such attribute."""
    _check_name(name)
    with open_storage(database) as storage:
        if name not in storage.ask(asking.question(nas, GetAttrs())):
            raise StateError(
                f'{nas} has no attribute "{printable(name)}"; rocks list host storageattr {nas} shows its attributes'
            )
        storage.ask(asking.question(nas, DelAttrs((name,))))


def set_image_attribute(database: Database, nas: str, volume: str, name: str, value: str) -> None:
    """Set an attribute of an image; `none` in any case clears it. UserError for an invalid name or value."""
    check_volume_name(volume)
    check_image_attribute(name)
    check_text("value", value, LONGEST_VALUE)
    if name == "persistent":
        lock_machine_of(database, nas, volume)
    with open_storage(database) as storage:
        storage.ask(asking.question(nas, SetZvolAttrs(volume, ((name, _value(value)),))))


def _value(text: str) -> str | None:
    return None if text.lower() == "none" else text


def _check_name(name: str) -> None:
    check_text("attr", name, LONGEST_NAME)
    if not name or " " in name:
        raise UserError(f'attr "{printable(name)}" is not valid: it must be a name without blanks')


def check_image_attribute(name: str) -> None:
    """UserError unless `name` is an attribute of images."""
    if name not in IMAGE_ATTRIBUTES:
        raise UserError(
            f'"{printable(name)}" is not an attribute of images; these are {", ".join(IMAGE_ATTRIBUTES)}'
        )
