"""`rocks pragma boot` of an image on a NAS; `tests/system/imgstorage/test_volume_sources.py` has the clones."""

import json
import math
from importlib import import_module
from pathlib import Path

import pytest

from tests.patience import patience
from tests.range_server import RangeServer, Served
from tests.system.commands.conftest import Site
from tests.system.imgstorage.conftest import certified, daemons, hosts, real_broker, storage
from tests.system.imgstorage.storage_site import HOST, OTHER, Storage, owner
from tests.system.pragma.conftest import KEY
from tests.system.pragma.test_boot import machines, started, values
from tests.unit.pragma.samples import TALK_VOLUMES, document, domain, volume_disk
from tests.unit.pragma.strict_readers import generation_one

__all__ = ["certified", "daemons", "hosts", "real_broker", "started", "storage"]


@pytest.fixture
def talk(local: Site, tmp_path: Path) -> Site:
    """The cluster of the talk of 2016, with the pool of computes that their volume names; and its NAS."""
    valid = TALK_VOLUMES.replace("pool='pragma'", "pool='state'")
    (tmp_path / "repository/dock6/vc-in.xml").write_text(valid)
    local.done("add host nas-0-0 'membership=NAS Appliance' rack=0 rank=9")
    return local


@pytest.mark.slow
def test_disks_are_clones_of_the_volumes(talk: Site, started: list[list[str]], tmp_path: Path) -> None:
    """Scenario 2, but for its order: the clones are made at the start, by the NAS."""
    (tmp_path / "ann.pub").write_text(f"{KEY}\n")
    assert "dock6: volume:hku_biolinux_fe volume:hku_biolinux_compute" in talk.done("pragma sync repository")
    talk.done(f"pragma boot dock6 6 key={tmp_path}/ann.pub")
    assert started == [["dock"]] and sorted(machines(talk)) == ["dock", "vm-dock-0", "vm-dock-1"]
    own, compute = values(talk, "dock"), values(talk, "vm-dock-1")
    assert (own["vm_image"], compute["vm_image"]) == ("volume:hku_biolinux_fe", "volume:hku_biolinux_compute")
    assert generation_one(own["vm_vc_out"])["key"] == KEY
    found = json.loads(talk.done("list host vm nas dock vm-dock-1 json=yes"))
    assert {
        (row["nas"], row["zpool"])
        for one in found
        for rows in one.values()
        if isinstance(rows, list)
        for row in rows
    } == {("nas-0-0", "state")}
    assert "volume:hku_biolinux_fe is on a NAS" in talk.refused("pragma check image dock6")


def test_a_host_that_is_no_nas_is_named(talk: Site, started: list[list[str]]) -> None:
    talk.done("remove host nas-0-0")
    assert "nas-0-0" in talk.refused("pragma boot dock6 1")
    assert not started and machines(talk) == {}


def test_a_description_of_a_web_server_gets_no_disk_of_a_machine(
    pragma_site: Site, server: RangeServer, started: list[list[str]]
) -> None:
    """Nor one of a machine that was removed, nor what a disk was before a restore; without the URL neither."""
    pragma_site.done("add host nas-0-0 'membership=NAS Appliance' rack=0 rank=9")

    def fetch(volume: str) -> None:
        text = document(domain(volume_disk(volume, "tank"), 2))
        server.files["/vc/alone/vc-in.xml"] = Served(text.encode(), etag=f'"{volume}"')
        pragma_site.done(f"set attr pragma_repository_url {server.url}/vc")
        pragma_site.done("pragma sync repository")

    for volume in ("Blue-vol", "blue-vol1", "blue-vol-before-7", "vm-old-0-vol2-before-1700000000"):
        fetch(volume)
        for _ in range(2):
            refused = pragma_site.refused("pragma boot alone 0")
            assert f"{volume} has the name of a machine's disk" in refused
            assert f"rocks add host storageimg nas-0-0 tank NAME origin={volume}" in refused
            pragma_site.rocks("remove attr pragma_repository_url")
    fetch("golden")
    pragma_site.rocks("pragma boot alone 0")
    assert started == [["dock"]]


@pytest.mark.slow
@pytest.mark.parametrize("names", [["dock", "vm-dock-0"], ["alone"]])
def test_a_shutdown_waits_until_the_images_are_written_back_and_names_a_stuck_one(
    pragma_site: Site, storage: Storage, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    """Scenario 15, on daemons of image storage. Guests are not part of it: `test_life.py` has their stop."""
    frontend, stuck = names[0], names[-1]
    pragma_site.done(
        f"add cluster 203.0.113.20 {len(names) - 1} fe-name={frontend} cluster-naming=yes disk-per-frontend=1",
        "disk-per-compute=1",
        f"fe-container={HOST if stuck == frontend else OTHER}",
        f"container-hosts={HOST}",
    )
    storage.done("set host attr", frontend, "vm_vc_out", "text")  # as a boot does
    for name in names:
        storage.done("set host vm nas", name, "nas=nas-0-0", "zpool=tank")
    for host in (HOST, OTHER):
        storage.done("set host attr", host, "img_sync", "yes")
    storage.succeeded("start host vm", *names)
    for name in names:
        storage.images.wait_for_state(f"{name}-vol", "local")
    monkeypatch.setattr("rocks.commands.stop.cluster.Command.run", lambda *_: None)
    storage.succeeded("pragma list cluster")  # loads the roll; the hosts are silent for it
    seconds = math.ceil(patience(2))  # in which the images of the other machines are written back
    monkeypatch.setattr(import_module("rocks.commands.pragma._shared.kvm_rocks"), "_UNMAP_SECONDS", seconds)
    with storage.images.hosts[HOST].away():
        ended = storage.rocks("pragma shutdown", frontend)
        assert ended.status == 8
        assert f"nas-0-0:{stuck}-vol of {stuck} is not written back yet" in ended.err
        assert "rocks list host storageop nas-0-0" in ended.err and ended.err.count("-vol of ") == 1
        assert {name: owner(storage, f"{name}-vol") for name in names} == {
            **dict.fromkeys(names),
            stuck: HOST,
        }
    storage.done("pragma shutdown", frontend)
    assert owner(storage, f"{stuck}-vol") is None
