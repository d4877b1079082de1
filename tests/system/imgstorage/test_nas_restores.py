"""Restores of machines whose disks are on a NAS: interrupted ones, and the snapshots that one leaves behind."""

from typing import Any

import pytest

from rocks.core.errors import StateError
from rocks.storage.client import StorageClient
from tests.system.imgstorage.image_site import NAS
from tests.system.imgstorage.storage_site import START, KilledError
from tests.system.imgstorage.test_nas_snapshots import (
    ADD,
    REMOVE_IT,
    RESTORE_IT,
    TWO,
    Agent,
    agent,
    content,
    listed,
    run,
    snap,
    stop,
)
from tests.system.imgstorage.test_saves import guests

__all__ = ["agent", "guests"]

VOLUMES = ("two-vol", "two-vol1")


def after_first(
    client: StorageClient, queries: dict[str, Any], *others: Any, real: Any = StorageClient.wait_each
) -> Any:
    """The first disk is restored, then the command is killed."""
    real(client, dict(list(queries.items())[:1]), *others)
    raise KilledError


def refused_by_all(client: StorageClient, queries: dict[str, Any], *others: Any) -> dict[str, Any]:
    return {key: StateError("the pool is too full") for key in queries}


def test_a_machine_whose_restore_was_killed_starts_when_it_is_repeated(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or when its disks are to count as they are. Two disks of former contents are one snapshot of the list."""
    storage = agent.guests.storage
    run(agent, "two", disks=TWO)
    snap(storage, "two", "monday")
    for volume in VOLUMES:
        agent.write(volume, "later.")
    stop(agent, "two")
    snap(storage, "two", "tuesday")

    def restore(wait: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(StorageClient, "wait_each", wait)
            return storage.rocks(*RESTORE_IT, "two", "monday")

    # a NAS that refuses leaves nothing to repeat
    assert "two is not restored: the pool is too full" in restore(refused_by_all).err
    snap(storage, "two", "wednesday")
    storage.done(*REMOVE_IT, "two", "wednesday")

    with pytest.raises(KilledError):
        restore(after_first)
    assert [content(storage, volume) for volume in VOLUMES] == [b"frozen", b"later."]
    assert restore(refused_by_all).status == 1
    for command in ((*START, "two"), (*ADD, "two", "friday")):
        ended = storage.rocks(*command)
        assert ended.status == 1, command
        assert "its disks are those of the snapshot monday in part" in ended.err
        assert "Repeat it: rocks restore host vm snapshot two monday" in ended.err
    storage.done(*RESTORE_IT, "two", "monday", "dry-run=yes")
    assert storage.rocks(*START, "two").status == 1
    assert storage.rocks(*RESTORE_IT, "two", "monday").status == 0
    assert [content(storage, volume) for volume in VOLUMES] == [b"frozen", b"frozen"]

    assert listed(storage, "two") == [
        ["monday", NAS, "2", "complete", "yes"],
        ["tuesday", NAS, "2", "former", "off"],
    ]
    # the name is free, and a snapshot of the present content is not mistaken for the former one
    snap(storage, "two", "tuesday")
    assert sorted(row[3] for row in listed(storage, "two")) == ["complete", "complete", "former"]

    # the other way out: the disks count as they are
    with pytest.raises(KilledError):
        restore(after_first)
    ended = storage.rocks(*REMOVE_IT, "two", "monday")
    assert ended.status == 0 and "two starts with its disks as they are" in ended.err
    assert "in part" not in storage.rocks(*START, "two").err
