"""Listings of image storage, word for word, and as programs read them."""

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from rocks.storage.host import devices
from rocks.storage.image.image import Image
from rocks.storage.wire import requests as wire
from tests.golden.files import check_golden
from tests.system.imgstorage.image_site import NAS, ImageSite
from tests.system.imgstorage.storage_site import ADD, HOST, OTHER, REMOVE, Storage

GOLDEN = Path(__file__).parents[2] / "golden" / "imgstorage_commands"
LIST = ("list", "host", "storagemap", NAS)
_CHANGING = (
    (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d\d:\d\d\.\d\d", "Fri 14:05.09"),
    (r"\b0:00:\d\d\b", "0:00:00"),
    (r"img-(\d+)-(\d+)-\d{8}T\d{6}Z", r"img-\1-\2-20260131T235959Z"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2026-01-31T23:59:59Z"),
)


def same_always(text: str) -> str:
    """The text with times that are as long as all others."""
    for pattern, instead in _CHANGING:
        text = re.sub(pattern, instead, text)
    return text


def test_the_lists_of_an_image_in_its_states(storage: Storage) -> None:
    """Golden: nothing has the image, one host works on the NAS's volume, one on its own copy."""
    assert "gold-" not in storage.done(*LIST)
    storage.map("gold-local-vol")
    storage.done(*ADD, "gold-remote-vol", OTHER, "1", "img_sync=no")
    storage.map("gold-home-vol")
    storage.done(*REMOVE, "gold-home-vol")
    header, *rows = storage.done(*LIST).splitlines()
    mine = [line for line in rows if line.startswith("gold-")]
    columns = "ZVOL ZPOOL REMOTEHOST REMOTEPOOL TARGET STATE TIME NEXTSYNC LOCKED NOTE"
    assert header.split() == columns.split()
    rows = [line.split() for line in mine]
    assert rows[0][:3] + [rows[0][5]] == ["gold-home-vol", "tank", "-" * 10, "unmapped"]
    assert rows[1][:4] + [rows[1][5]] == ["gold-local-vol", "tank", HOST, "tank", "mapped"]
    assert re.search(r" (Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d\d:\d\d\.\d\d ", mine[1])
    assert rows[2][4] == "iqn.2001-04.com.nas-0-0:gold-remote-vol.1" and rows[2][5] == "mapped"
    check_golden(GOLDEN / "storagemap.txt", same_always("\n".join(mine)) + "\n")
    check_golden(
        GOLDEN / "storagedev.txt", same_always(storage.done("list", "host", "storagedev", HOST, OTHER))
    )
    (listed,) = json.loads(storage.done(*LIST, "json=yes"))
    assert listed["nas"] == NAS and {"zvol", "state", "locked"} <= set(listed["storagemap"][0])
    assert json.loads(storage.done("list", "host", "storagemap", "json=yes")) == [listed], "of all NASes"
    assert storage.done(*LIST, "output-col=zvol,state", "output-header=no").split()[:2] == [
        "gold-home-vol",
        "unmapped",
    ]
    for volume in ("gold-local-vol", "gold-remote-vol"):
        storage.done(*REMOVE, volume)


@pytest.fixture
def patient_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait until a guest lets go of its device, instead of 5 s, in which a busy machine lists nothing."""
    monkeypatch.setattr(devices, "_UDEV_SECONDS", 3600.0)


@pytest.mark.usefixtures("patient_hosts")
def test_a_list_shows_the_age_of_a_request_to_a_host(storage: Storage) -> None:
    """While it does what the NAS wants of it: here it waits until a guest lets go of its device."""
    images = storage.images
    storage.map("asked-vol")
    device = images.hosts[HOST].kernel.devices["asked-vol-snap"]

    def times() -> dict[str, str]:
        arguments = ("list", "host", "storagedev", HOST, "output-col=volume,time", "output-header=no")
        rows = (line.split() for line in storage.done(*arguments).splitlines())
        return {row[0]: row[1] if len(row) > 1 else "" for row in rows}

    assert not times()["asked-vol"].strip("-")
    device.holders += 1
    unmap = threading.Thread(target=take_back, args=(images, "asked-vol"))
    unmap.start()
    try:
        images.wait_for(lambda: re.fullmatch(r"0:0\d:\d\d", times()["asked-vol"]) is not None, "a time")
    finally:
        device.holders -= 1
        unmap.join(120)
    images.wait_for(lambda: "asked-vol" not in times(), "no image any more")


@pytest.mark.usefixtures("patient_hosts")
def test_the_site_at_a_glance_has_the_images_of_a_nas_that_answers(storage: Storage) -> None:
    """An image is on its way while its host waits for a guest; a NAS without a daemon needs an operator."""
    images = storage.images
    storage.map("glance-vol")
    device = images.hosts[HOST].kernel.devices["glance-vol-snap"]

    def glance() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(storage.done("list", "site", "json=yes"))
        return {
            "images": {row["image"]: row for row in found["images"]},
            "problems": {row["subject"] for row in found["problems"]},
        }

    assert "glance-vol" not in glance()["images"]
    device.holders += 1
    unmap = threading.Thread(target=take_back, args=(images, "glance-vol"))
    unmap.start()
    try:
        images.wait_for(lambda: "glance-vol" in glance()["images"], "an image on its way", 120)
        row = glance()["images"]["glance-vol"]
        assert (row["nas"], row["host"]) == (NAS, HOST) and row["state"] not in ("mapped", "unmapped")
        metrics = storage.done("report", "metrics")
        assert re.search(rf'^rocks_images_in_transfer{{nas="{NAS}",state="[^"]+"}} 1$', metrics, re.MULTILINE)
        assert "glance-vol" in storage.done("list", "site")
    finally:
        device.holders -= 1
        unmap.join(120)
    images.wait_for(lambda: "glance-vol" not in glance()["images"], "an image that has arrived", 120)
    storage.done("add", "host", "nas-1-19", "membership=NAS Appliance", "rack=1", "rank=19")
    problems = glance()["problems"]
    assert "NAS nas-1-19" in problems and f"NAS {NAS}" not in problems
    assert images.row("glance-vol")["state"] == "unmapped"


def take_back(images: ImageSite, zvol: str) -> None:
    """Take the image back from a host where it is in use: it waits until it is not."""
    images.ask(wire.UnmapZvol(zvol), deadline_seconds=600)


def test_thousands_of_images_are_listed(storage: Storage) -> None:
    """More than a message can carry: they come in parts, and none is missing or there twice."""
    service = storage.images.nas.service
    names = [f"many-{number:04d}-{'x' * 60}-vol" for number in range(3000)]
    images = [Image(name, NAS, "tank", name, size_bytes=2**30) for name in names]
    with service._engine._lock, service._store.transaction():
        for image in images:
            service._engine.add(image)
    try:
        rows = [row["zvol"] for row in storage.images.rows()]
        (listed,) = json.loads(storage.done(*LIST, "json=yes"))
    finally:
        with service._engine._lock, service._store.transaction():
            for image in images:
                service._store.forget(image.image_id)
                del service._engine._images[image.image_id]
    assert [name for name in rows if name.startswith("many-")] == names
    assert [row["zvol"] for row in listed["storagemap"] if row["zvol"].startswith("many-")] == names
