"""Copies of a cluster whose disks are on a NAS: each machine gets a clone of the disk of its model.

The hosts of these tests are played, as in `test_storage_vms`.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rocks.cluster import clone as cluster_clones
from rocks.cluster import reinstall
from rocks.core.errors import HostError
from rocks.database.connection import Database
from rocks.inventory.host_records import LOCK as INVENTORY
from rocks.leases.lease import LOCK_WAIT_SECONDS, ensure_locked
from rocks.machine.volumes import DestroyingError
from rocks.storage.wire import requests as wire
from rocks.storage.wire.names import is_base
from tests.system.imgstorage.image_site import NAS
from tests.system.imgstorage.storage_site import HOST, START, Storage, owner, run_process, run_until_killed

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEpmvZ7QZ9bJc1bS7yXg0mB1hQdCkV2y3d5mYJ0Xh8aB me"
IP = "203.0.113.20"


class Original:
    """A cluster with all its disks on the NAS, which its teacher has prepared; names are of this test only."""

    def __init__(self, storage: Storage, name: str) -> None:
        self.storage = storage
        self.name = name
        self.machines = (name, f"vm-{name}-0", f"vm-{name}-1")

    def clone(self, *arguments: str) -> list[list[str]]:
        """The words of the rows that the command prints."""
        out = self.storage.done("clone", "cluster", self.name, IP, *arguments, "output-header=no")
        return [line.split() for line in out.splitlines()]

    def content(self, volume: str) -> bytes:
        """What the teacher has written to a disk."""
        return self.storage.images.nas.pools.read(f"tank/{volume}", 20, 4096)

    def volumes(self) -> dict[str, str | None]:
        """Volume of the copies → its origin."""
        facts = self.storage.images.nas.pools.list_volumes("tank")
        begins = (f"tank/{self.name}-", f"tank/vm-{self.name}-")
        own = {f"tank/{machine}-vol" for machine in self.machines}
        return {
            fact.name: fact.origin for fact in facts if fact.name.startswith(begins) and fact.name not in own
        }

    def change(self, machine: str, text: bytes) -> None:
        """Write to the disk of a machine that is off, as a return of its changes does: with a snapshot."""
        self.storage.images.nas.pools.write(f"tank/{machine}-vol", text, 4096)


@pytest.fixture
def original(request: pytest.FixtureRequest, storage: Storage, library: Path, tmp_path: Path) -> Original:
    """Two computes and a frontend, all of which have run once."""
    name = f"c{abs(hash(request.node.name)) % 10**6}"
    disk, keys = tmp_path / "disk", tmp_path / "keys"
    disk.write_bytes(b"boot" + bytes(10**6))
    keys.write_text(f"{KEY}\n")
    storage.done("set", "attr", "vm_vlan_pool", "2-300")
    storage.done("add", "image", "debian", f"file={disk}")
    storage.done("set", "host", "attr", HOST, "img_sync", "yes")
    places = (f"fe-container={HOST}", f"container-hosts={HOST}", "disk-per-compute=2", "disk-per-frontend=3")
    line = ("add", "cluster", "203.0.113.9", "2", f"fe-name={name}", "cluster-naming=yes", *places)
    storage.done(*line, "image=debian", f"key={keys}")
    made = Original(storage, name)
    storage.done("set", "host", "vm", "nas", *made.machines, f"nas={NAS}", "zpool=tank")
    assert storage.rocks(*START, *made.machines).status == 0
    storage.stop(*made.machines)
    for machine in made.machines:
        made.change(machine, f"of {machine}".encode())
    return made


def test_forty_copies_have_the_disks_of_their_models(original: Original) -> None:
    """Each machine that of its model, as clones of one snapshot; the disk of a copy is its own."""
    rows = original.clone("count=40")
    assert len(rows) == 40 and {row[-1] for row in rows} == {"added"}
    volumes = original.volumes()
    assert len(volumes) == 120 and len(set(volumes.values())) == 3
    name, storage = original.name, original.storage
    for machine, copy in ((name, f"{name}-7"), (f"vm-{name}-1", f"vm-{name}-7-1")):
        assert (volumes[f"tank/{copy}-vol"] or "").startswith(f"tank/{machine}-vol@img-")
        assert original.content(f"{copy}-vol").startswith(f"of {machine}".encode())
        assert storage.disks(copy)[0][0] == "file", "its first start maps it"
    ended = storage.rocks(*START, f"vm-{name}-7-1")
    assert ended.status == 0 and ended.err == ""
    storage.images.wait_for_state(f"vm-{name}-7-1-vol", "local")
    storage.images.hosts[HOST].pools.write(f"tank/vm-{name}-7-1-vol", b"of the student", 4096)
    storage.stop(f"vm-{name}-7-1")
    assert original.content(f"vm-{name}-7-1-vol").startswith(b"of the student")
    assert original.content(f"vm-{name}-8-1-vol").startswith(f"of vm-{name}-1".encode())
    refusal = storage.refused("remove", "host", "storageimg", NAS, "tank", f"{name}-vol", "now=yes")
    assert f"tank/{name}-1-vol is a clone of img-" in refusal


def test_a_repeated_command_adds_what_is_missing(original: Original) -> None:
    """From what the original has then; what exists stays."""
    original.clone("count=2")
    before = original.volumes()
    assert [row[-1] for row in original.clone("count=2")] == ["exists", "exists"]
    original.change(original.name, b"of the second lesson")
    assert [row[-1] for row in original.clone("count=3")] == ["exists", "exists", "added"]
    volumes = original.volumes()
    assert {name: origin for name, origin in volumes.items() if name in before} == before
    assert original.content(f"{original.name}-3-vol") == b"of the second lesson"
    assert original.content(f"{original.name}-2-vol").startswith(f"of {original.name}".encode())
    compute = f"tank/vm-{original.name}-{{}}-0-vol"
    assert volumes[compute.format(3)] == volumes[compute.format(1)], "no snapshot more than needed"


def test_what_an_interrupted_command_made_is_used_or_made_anew(
    original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The volumes are made before the commit: killed between them, the database has nothing."""

    clone = cluster_clones.create_volumes

    def made_then_killed(*arguments: Any) -> None:
        clone(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cluster_clones, "create_volumes", made_then_killed)
        assert original.storage.rocks("clone", "cluster", original.name, IP, "count=2").status != 0
    left = original.volumes()
    assert len(left) == 6
    assert f"{original.name}-1:" not in original.storage.done("list", "cluster")
    original.change(original.name, b"changed meanwhile")
    assert [row[-1] for row in original.clone("count=2")] == ["added", "added"]
    volumes = original.volumes()
    assert original.content(f"{original.name}-1-vol").startswith(b"changed meanwhile")
    compute = f"tank/vm-{original.name}-2-0-vol"
    assert volumes[compute] == left[compute]


def test_what_a_killed_command_left_is_no_disk_of_another_cluster(
    original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner would have the passwords and keys of the first one. A recorded copy starts with its own disk."""
    storage, name = original.storage, original.name
    clone = cluster_clones.create_volumes

    def made_then_killed(*arguments: Any) -> None:
        with Database(storage.cluster.database.settings) as other:
            other.lock(INVENTORY, 1.0)  # others change the site while NASes work
        clone(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cluster_clones, "create_volumes", made_then_killed)
        assert storage.rocks("clone", "cluster", name, IP, "count=2").status != 0
    later = f"{name}-1"
    storage.succeeded(
        "add", "cluster", "203.0.113.30", "0", f"fe-name={later}", f"fe-container={HOST}", "image=debian"
    )
    storage.done("set", "host", "vm", "nas", later, f"nas={NAS}", "zpool=tank")
    refused = storage.rocks(*START, later)
    assert refused.status == 1
    assert f"ZVol {later}-vol in tank is an unused disk of another image ({name}-vol)" in refused.err
    assert [row[-1] for row in original.clone(f"name={name}-2", "count=1")] == ["added"]
    assert storage.rocks(*START, f"{name}-2-1").status == 0
    storage.stop(f"{name}-2-1")


def test_originals_that_are_not_at_rest(original: Original) -> None:
    """Running, mapped, partly on hosts, or without an image: nothing is added, and no volume is made."""
    storage, name = original.storage, original.name
    clone = ("clone", "cluster", name, IP)
    assert storage.rocks(*START, name).status == 0
    assert f"{name} may be running on {HOST}" in storage.refused(*clone)
    storage.stop(name)
    storage.images.map_local(f"{name}-vol")
    assert f"ZVol {name}-vol is local on {HOST}" in storage.refused(*clone)
    storage.images.unmap(f"{name}-vol")
    assert owner(storage, f"{name}-vol") is None
    compute = f"vm-{name}-0"
    storage.done("remove", "host", "attr", compute, "vm_image")
    assert f"{compute} was not made from an image" in storage.refused(*clone)
    storage.done("set", "host", "attr", compute, "vm_image", "debian")
    storage.done("set", "host", "vm", "nas", compute, "nas=none")
    assert f"the disk of {compute} is on its host" in storage.refused(*clone)
    storage.done("set", "host", "vm", "nas", compute, f"nas={NAS}", "zpool=tank")
    storage.images.ask(wire.AddZvol("tank", f"vm-{name}-1-0-vol", 2**20))
    refusal = storage.refused(*clone)
    assert "nothing was added" in refusal and f"ZVol vm-{name}-1-0-vol exists already in tank" in refusal
    assert f"rocks remove host storageimg {NAS} tank vm-{name}-1-0-vol now=yes" in refusal
    assert set(original.volumes()) <= {f"tank/vm-{name}-1-0-vol"}
    storage.done("remove", "host", "storageimg", NAS, "tank", f"vm-{name}-1-0-vol", "now=yes")
    assert [row[-1] for row in original.clone()] == ["added"]


def test_a_nas_that_cannot(original: Original, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails in the middle leaves nothing in the database."""
    clone = ("clone", "cluster", original.name, IP)
    pools = original.storage.images.nas.pools
    real = pools.ensure_clones

    def failing(origins: Any, *others: Any) -> Any:
        real(dict(list(origins.items())[:1]), *others)
        raise HostError("the pool is away")

    with monkeypatch.context() as patch:
        patch.setattr(pools, "ensure_clones", failing)
        assert "nothing was added: the pool is away" in original.storage.refused(*clone)
    assert [row[-1] for row in original.clone()] == ["added"]


def test_a_dry_run_makes_nothing(original: Original) -> None:
    """It prints what each NAS would do."""
    ended = original.storage.succeeded("clone", "cluster", original.name, IP, "dry-run=yes")
    assert (
        f"make these volumes of tank as clones, unless they exist: {original.name}-1-vol"
        in ended.out + ended.err
    )
    assert original.volumes() == {}


def test_computes_get_clones_of_another_one(original: Original) -> None:
    """Its disk in place of theirs, at once; the frontend and the original keep theirs."""
    storage, name = original.storage, original.name
    model, other = f"vm-{name}-0", f"vm-{name}-1"
    line = ("clone", "host", "vm", model, other)
    dry = storage.succeeded(*line, "dry-run=yes")
    assert f"{NAS}: would destroy the image {other}-vol\n" in dry.out
    assert f"make these volumes of tank as clones, unless they exist: {other}-vol" in dry.out
    assert original.content(f"{other}-vol").startswith(f"of {other}".encode())

    ended = storage.succeeded(*line)
    assert ended.err == f"{other}: its disk is a clone of that of {model}\n"
    assert original.content(f"{other}-vol").startswith(f"of {model}".encode())
    fact = storage.images.nas.pools.read_volume(f"tank/{other}-vol")
    assert fact is not None and (fact.origin or "").startswith(f"tank/{model}-vol@img-")
    assert original.content(f"{name}-vol").startswith(f"of {name}".encode())

    assert storage.rocks(*START, model, other).status == 0
    storage.images.wait_for_state(f"{other}-vol", "local")
    storage.images.hosts[HOST].pools.write(f"tank/{other}-vol", b"of its owner", 4096)
    storage.stop(model, other)
    assert original.content(f"{model}-vol").startswith(f"of {model}".encode())
    assert f"since tank/{other}-vol is a clone of it" in storage.refused("reinstall", "host", "vm", model)
    again = storage.succeeded(*line)
    assert again.err == f"{other}: its disk is a clone of that of {model}\n"
    assert original.content(f"{other}-vol").startswith(f"of {model}".encode())

    assert "is a clone of tank/" in storage.refused("reinstall", "host", "vm", other)
    storage.succeeded("reinstall", "host", "vm", other, "image=debian")
    assert storage.rocks(*START, other).status == 0
    storage.stop(other)
    fact = storage.images.nas.pools.read_volume(f"tank/{other}-vol")
    assert fact is not None and is_base((fact.origin or "").partition("/")[2].partition("@")[0])
    listed = storage.done("list", "host", "attr", other)
    assert "vm_disk_clone_of" not in listed
    storage.succeeded("reinstall", "host", "vm", model)


def test_what_a_clone_of_a_disk_would_lose_or_get_wrong_refuses_all(
    original: Original, library: Path
) -> None:
    """An original that runs, or of another cluster; machines that may run, are elsewhere, or get no own name."""
    storage, name = original.storage, original.name
    model, other = f"vm-{name}-0", f"vm-{name}-1"
    line = ("clone", "host", "vm", model)
    assert "must supply a machine" in storage.refused(*line)
    assert f"{model} cannot be a clone of itself" in storage.refused(*line, other, model)
    storage.add_vm("stranger")
    assert f"stranger and {model} are not machines of one virtual cluster" in storage.refused(
        *line, other, "stranger"
    )
    assert storage.rocks(*START, model).status == 0
    assert f"{model} may be running on {HOST}, and its disk is cloned" in storage.refused(*line, other)
    storage.stop(model)
    assert storage.rocks(*START, other).status == 0
    refused = storage.rocks(*line, name, other)
    assert refused.status == 1 and f"{other} may be running on {HOST}" in refused.err
    assert "no disk of these 2 machines was removed" in refused.err
    storage.stop(other)
    storage.done("remove", "host", "attr", other, "vm_image")
    assert f"{other} was not made from an image" in storage.refused(*line, other)
    storage.done("set", "host", "attr", other, "vm_image", "debian")
    storage.done("set", "host", "vm", "nas", other, "nas=none")
    assert f"the disk of {other} is not in the pool of that of {model}" in storage.refused(*line, other)
    assert f"the disk of {other} is on no NAS" in storage.refused("clone", "host", "vm", other, model)
    storage.done("set", "host", "vm", "nas", other, f"nas={NAS}", "zpool=tank")
    for machine in original.machines:
        assert original.content(f"{machine}-vol").startswith(f"of {machine}".encode())


def test_a_killed_clone_of_a_disk_is_completed_by_its_repetition(original: Original) -> None:
    """SIGKILL when the old disk is gone and the new one is not made."""
    storage, name = original.storage, original.name
    line = ("clone", "host", "vm", f"vm-{name}-0", f"vm-{name}-1")
    run_until_killed("from rocks.cluster import reinstall\nreinstall.clone_volumes = kill", *line)
    assert storage.images.nas.pools.read_volume(f"tank/vm-{name}-1-vol") is None
    storage.succeeded(*line)
    assert original.content(f"vm-{name}-1-vol").startswith(f"of vm-{name}-0".encode())


def test_a_nas_that_makes_no_clone_is_no_success(original: Original, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old disk is gone; the message states it, and a repetition makes the clone."""
    storage, name = original.storage, original.name
    line = ("clone", "host", "vm", f"vm-{name}-0", f"vm-{name}-1")

    def failing(*_: Any) -> Any:
        raise HostError("the pool is away")

    with monkeypatch.context() as patch:
        patch.setattr(storage.images.nas.pools, "ensure_clones", failing)
        ended = storage.rocks(*line)
    assert ended.status == 1 and f"vm-{name}-1 has no disk now" in ended.err
    assert "the pool is away; repeat the command" in ended.err
    storage.succeeded(*line)
    assert original.content(f"vm-{name}-1-vol").startswith(f"of vm-{name}-0".encode())


def test_a_clone_waits_for_another_of_the_same_disk(original: Original) -> None:
    """Owners ask for each compute by itself, and all lock the original; the lock is given back while it waits."""
    storage, name = original.storage, original.name
    with ThreadPoolExecutor(1) as waiting:
        with Database(storage.cluster.database.settings) as other:
            ensure_locked(other, [f"vm-{name}-0"])
            done = waiting.submit(run_process, "", "clone", "host", "vm", f"vm-{name}-0", f"vm-{name}-1")
            with pytest.raises(TimeoutError):
                done.result(2 * LOCK_WAIT_SECONDS)
        ended = done.result(120)
    assert ended.exit_status == 0, ended.error_text
    assert original.content(f"vm-{name}-1-vol").startswith(f"of vm-{name}-0".encode())


def test_the_disk_that_a_removed_machine_has_left_is_not_cloned(original: Original) -> None:
    """Another owner may have had it: neither by a machine of the name nor by a copy of its cluster."""
    storage, name = original.storage, original.name
    model, other = f"vm-{name}-0", f"vm-{name}-1"
    uuid = "8a5c1f0e-0000-4000-8000-000000000001"
    storage.cluster.change(
        "UPDATE vm_nodes v JOIN nodes n ON n.ID = v.Node SET v.UUID = %s WHERE n.Name = %s", [uuid, model]
    )
    refused = storage.refused("clone", "host", "vm", model, other)
    assert f"the image {NAS}:{model}-vol belongs to another machine" in refused
    assert original.content(f"{other}-vol").startswith(f"of {other}".encode())
    assert "belongs to another machine" in storage.refused("clone", "cluster", name, IP)
    assert original.volumes() == {}


def test_a_disk_that_is_still_being_destroyed_makes_no_room_for_its_clone(
    original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine keeps what its next start makes; the message names the command that makes the clone later."""
    storage, name = original.storage, original.name
    line = ("clone", "host", "vm", f"vm-{name}-0", f"vm-{name}-1")

    def accepted(database: Any, machines: Any, disks: Any) -> Any:
        return {disk: DestroyingError("the NAS is busy") for disk in disks}

    with monkeypatch.context() as patch:
        patch.setattr(reinstall, "destroy_volumes", accepted)
        refused = storage.refused(*line)
    assert "its former disk is still being destroyed (the NAS is busy)" in refused
    assert f"repeat: rocks {' '.join(line)}" in refused
    assert original.content(f"vm-{name}-1-vol").startswith(f"of vm-{name}-1".encode())
    storage.succeeded(*line)
    assert original.content(f"vm-{name}-1-vol").startswith(f"of vm-{name}-0".encode())
