"""The changes of an image are discarded only when its host does not answer, or says that nothing uses the device."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rocks.core.errors import BusyError, HostError, RocksError
from rocks.storage.client import Query
from rocks.storage.volumes import maps
from rocks.storage.wire import requests as wire
from rocks.storage.wire.replies import DeviceRow, ImageRow, SnapshotsOfImage

NAS, HOST, VOLUME = "nas-0-0", "vmh1", "web-vol"


class Storage:
    """A NAS with the image mapped to the host, and the answer of that host; `sent` is what changes something."""

    def __init__(self, devices: Any) -> None:
        self._devices, self.sent = devices, list[Any]()

    def ask(self, query: Query[Any], seconds: float = 0) -> Any:
        return SnapshotsOfImage((), None, "", 0) if isinstance(query.request, wire.ListSnapshots) else (ROW,)

    def ask_each(self, queries: dict[str, Query[Any]]) -> dict[str, Any]:
        assert [query.request for query in queries.values()] == [wire.ListDevices()]
        return dict.fromkeys(queries, self._devices)

    def wait(self, query: Query[Any], seconds: float, watcher: Any) -> None:
        self.sent.append(query.request)


TARGET = "iqn.2001-04.com.nas-0-0:web-vol.1"
ROW = ImageRow(zvol=VOLUME, zpool="tank", state="local", word="", remotehost=HOST, iscsi_target=TARGET)


def clean(monkeypatch: pytest.MonkeyPatch, storage: Storage, machine: str | None) -> str:
    disks = [] if machine is None else [SimpleNamespace(vm=machine)]
    monkeypatch.setattr(maps, "open_storage", lambda database: nullcontext(storage))
    monkeypatch.setattr(maps, "disks_of", lambda *_: disks)
    monkeypatch.setattr(maps, "read_leases", lambda *_: {})
    monkeypatch.setattr(maps, "lock_machine_of", lambda *_: None)
    database = cast("Any", SimpleNamespace(commit=lambda: None))
    return maps.clean_map(database, NAS, VOLUME, "", "it burns", cast("Any", None))


@pytest.mark.parametrize(
    ("name", "target"), [(VOLUME, None), ("volume0", TARGET)], ids=["known", "of a host without its records"]
)
@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (
            "web",
            "web runs there, or a program there uses the device; run rocks stop host vm web first, or end that program",
        ),
        (None, "a program there uses the device; end that program"),
    ],
)
def test_changes_of_a_running_guest_are_not_discarded(
    monkeypatch: pytest.MonkeyPatch, machine: str | None, message: str, name: str, target: str | None
) -> None:
    storage = Storage({name: DeviceRow(target=target, in_use=True)})
    with pytest.raises(BusyError) as caught:
        clean(monkeypatch, storage, machine)
    assert str(caught.value) == f"{NAS}:{VOLUME} stays on {HOST}, which answers: {message}"
    assert storage.sent == []


@pytest.mark.parametrize(
    "devices",
    [
        BusyError("silent"),
        HostError("no queue"),
        {},
        {VOLUME: DeviceRow()},
        {"volume0": DeviceRow(target=f"{TARGET}1", in_use=True), "other-vol": DeviceRow(in_use=True)},
    ],
    ids=["silent", "never installed", "no device", "unused", "others used"],
)
def test_changes_are_discarded_where_nothing_uses_them(
    monkeypatch: pytest.MonkeyPatch, devices: RocksError | dict[str, DeviceRow]
) -> None:
    storage = Storage(devices)
    done = clean(monkeypatch, storage, "web")
    assert done == f"{NAS}:{VOLUME} is unmapped from {HOST}; discarded: all changes on {HOST}"
    assert storage.sent == [wire.AbandonZvol(VOLUME, "it burns")]
