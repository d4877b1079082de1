"""Copies that a host receives at once into one pool."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, cast

import pytest

from rocks.core.errors import PoolFullError, ToolError
from rocks.core.values import BYTES_PER_GIB as GIB
from rocks.storage.host.copies import CopyHandlers
from rocks.storage.host.effects import Name
from rocks.storage.host.engine import GrantedImage, Handler
from rocks.storage.image.effects import MapLinear, SeedCopy
from rocks.storage.image.image import HostImage
from tests.fakes.zfs import FakePools

POOL_BYTES, STREAM_BYTES = 200 * GIB, 80 * GIB
NEEDED_BYTES = (88 + 8 + 8) * GIB


class Transfers:
    """Receives nothing: at the middle of each stream `meanwhile` is called."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] = lambda: None
        self.received: list[str] = []

    def receive(self, image: GrantedImage, volume: str, base_guid: str, check_space: Any) -> None:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        check_space(STREAM_BYTES, True)
        check_space(STREAM_BYTES // 2, False)
        meanwhile()
        self.received.append(image.known.zvol)


def image_of(zvol: str) -> GrantedImage:
    known = HostImage(zvol, "tank", size_bytes=STREAM_BYTES)
    return GrantedImage(zvol, 1, known, "nas-0-0", f"tank/{zvol}", "127.0.0.1", 1, 2, None)


@pytest.fixture
def pools() -> FakePools:
    return FakePools({"tank": POOL_BYTES})


@pytest.fixture
def transfers() -> Transfers:
    return Transfers()


@pytest.fixture
def handlers(pools: FakePools, transfers: Transfers) -> dict[Name, Handler]:
    return CopyHandlers(pools, cast("Any", transfers), "vmh1").handlers


@pytest.fixture
def receive(handlers: dict[Name, Handler]) -> Callable[[str], None]:
    def one(zvol: str) -> None:
        handlers["ReceiveSeed"](SeedCopy(zvol, "tank", "img-1-1", "7"), image_of(zvol))

    return one


def free_reserved(pools: FakePools, free_bytes: int, volume: str = "tank/other") -> None:
    """Reserve the rest of the pool; its size stays."""
    pools.ensure_volume(volume, POOL_BYTES, 8192, pools.read_pool("tank").free_bytes - free_bytes)


def test_a_copy_leaves_to_a_running_one_what_it_needs(
    pools: FakePools,
    transfers: Transfers,
    handlers: dict[Name, Handler],
    receive: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each alone has the space; both together would stop in a full pool, and neither could be continued.

    What was received before stays, until the pool has no space for that copy alone.
    """
    free_reserved(pools, NEEDED_BYTES + 5 * GIB)
    refused: list[str] = []
    given_back: list[str] = []
    monkeypatch.setattr(pools, "ensure_partial_gone", given_back.append)

    def begin_other() -> None:
        with pytest.raises(PoolFullError) as raised:
            receive("b-vol")
        refused.append(str(raised.value))

    transfers.meanwhile = begin_other
    receive("a-vol")
    assert transfers.received == ["a-vol"]
    assert refused[0].startswith(
        "b-vol is not copied to vmh1: its pool has 57.0 GiB free and 104.0 GiB are needed"
    )
    assert refused[0].endswith("to stay free, besides 52.0 GiB for copies that are being received")
    with pytest.raises(PoolFullError, match=r"besides 8\.0 GiB for copies"):
        receive("b-vol")  # the writes of the first guest are not merged yet
    handlers["EnsureTempWriteGone"](None, image_of("a-vol"))
    receive("b-vol")
    assert transfers.received == ["a-vol", "b-vol"] and given_back == []
    free_reserved(pools, NEEDED_BYTES - GIB, "tank/more")
    with pytest.raises(PoolFullError):
        receive("c-vol")
    assert given_back == ["tank/.seed/c-vol"]

    def fail(volume: str) -> None:
        raise ToolError(f"cannot resume receive on {volume}: dataset is busy")

    monkeypatch.setattr(pools, "ensure_partial_gone", fail)
    with pytest.raises(PoolFullError):  # which is awaited without limit, as another failure is not
        receive("c-vol")


def test_a_copy_that_has_failed_needs_nothing(
    pools: FakePools, transfers: Transfers, receive: Callable[[str], None]
) -> None:
    free_reserved(pools, NEEDED_BYTES)

    def fail() -> None:
        raise ConnectionError

    transfers.meanwhile = fail
    with pytest.raises(ConnectionError):
        receive("a-vol")
    receive("b-vol")


def test_a_pool_that_does_not_answer_stops_no_other_copy(
    pools: FakePools,
    transfers: Transfers,
    receive: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whenever the first copy reads the free space, another one is received meanwhile."""
    pools.fake.pools["tank"].size_bytes = 4 * POOL_BYTES
    read_pool, first = pools.read_pool, threading.current_thread()

    def hang(pool: str) -> Any:
        if threading.current_thread() is first:
            other = threading.Thread(target=receive, args=(f"other-{len(transfers.received)}",), daemon=True)
            other.start()
            other.join(5)
            assert not other.is_alive(), "it waits for the first copy"
        return read_pool(pool)

    monkeypatch.setattr(pools, "read_pool", hang)
    receive("a-vol")
    assert transfers.received == ["other-0", "other-1", "a-vol"]


def test_with_space_for_both_they_run_at_once(
    pools: FakePools, transfers: Transfers, receive: Callable[[str], None]
) -> None:
    free_reserved(pools, NEEDED_BYTES + 52 * GIB)
    transfers.meanwhile = lambda: receive("b-vol")
    receive("a-vol")
    assert transfers.received == ["b-vol", "a-vol"]


# A copy that no guest has used: it is marked as clean when its map is undone.


COPY = "tank/vm-vol"


def test_a_mark_that_cannot_be_set_is_set_by_the_repetition(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A copy that stays marked as changed would never be evicted, and a scheduler would wait for its return.

    Only without its pool nothing is repeated.
    """
    pools = FakePools({"tank": 1024**3})
    handlers = CopyHandlers(pools, cast("Any", None), "vmh1").handlers
    image = GrantedImage("1", 5, HostImage("vm-vol", "tank"), "nas-0-0", COPY, "127.0.0.1", 1, 2, None)
    pools.ensure_volume(COPY, 64 * 1024 * 1024, 8192)
    base = pools.ensure_snapshot(COPY, pools.read_volume(COPY).guid, "img-1-1", {})
    handlers["MarkDirty"](MapLinear("vm-vol", "tank", base.guid, 64 * 1024 * 1024), image)

    def fail(*values: Any) -> Any:
        raise ToolError("zfs set does not end")

    with monkeypatch.context() as patch:
        patch.setattr(pools, "ensure_properties", fail)
        with pytest.raises(ToolError):
            handlers["MarkUnchanged"](None, image)
    assert pools.read_volume(COPY).property_value("imgstore:copy") == "dirty"
    pools.export_pool("tank")
    handlers["MarkUnchanged"](None, image)
    assert (
        "tank/vm-vol stays marked as changed until its next map: this machine has no ZFS pool" in caplog.text
    )
    pools.import_pool("tank")
    pools.fake.pools["tank"].health = "SUSPENDED"
    with monkeypatch.context() as patch:
        patch.setattr(pools, "ensure_properties", fail)
        handlers["MarkUnchanged"](None, image)
    assert "until its next map: its pool is SUSPENDED" in caplog.text
    for text, is_passing in (("tank: pool I/O is currently suspended", False), ("zfs does not end", True)):

        def refuse(pool: str, text: str = text) -> Any:
            raise ToolError(text)

        with monkeypatch.context() as patch, pytest.raises(ToolError) if is_passing else nullcontext():
            patch.setattr(pools, "read_pool", refuse)
            handlers["MarkUnchanged"](None, image)
    assert "until its next map: tank: pool I/O is currently suspended" in caplog.text
    pools.fake.pools["tank"].health = "ONLINE"
    handlers["MarkUnchanged"](None, image)
    assert pools.read_volume(COPY).property_value("imgstore:copy") == "clean"
