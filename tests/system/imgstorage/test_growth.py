"""A disk on a NAS grows while its machine is off: the volume, the record, and the next start's device.

The hosts of these tests are played, as in `test_storage_vms`; the daemons are real.
"""

import pytest

from rocks.core.errors import HostError
from rocks.core.values import BYTES_PER_GIB, BYTES_PER_SECTOR
from rocks.machine import record
from rocks.storage.device_mapper.tables import Linear
from rocks.storage.volumes import volumes as nas_growth
from tests.system.imgstorage.image_site import NAS
from tests.system.imgstorage.storage_site import HOST, START, Storage

GROW = ("set", "host", "vm", "disk")


def used_vm(storage: Storage, name: str) -> str:
    """A machine that has run on its host, which has kept a copy of its disk of 1 GiB."""
    vm = storage.add_vm(name)
    storage.done(*START, vm)
    storage.images.wait_for_state(f"{vm}-vol", "local")
    storage.images.hosts[HOST].pools.write(f"tank/{vm}-vol", b"written", 4096)
    storage.stop(vm)
    return vm


def sizes(storage: Storage, vm: str) -> tuple[int, int, int]:
    """GB in the record of the machine, in that of the NAS, and in its pool."""
    ((recorded,),) = storage.cluster.rows(
        "SELECT d.Size FROM vm_disks d JOIN vm_nodes v ON v.ID = d.Vm_Node JOIN nodes n ON n.ID = v.Node"
        " WHERE n.Name = %s ORDER BY d.ID LIMIT 1",
        [vm],
    )
    fact = storage.images.nas.pools.read_volume(f"tank/{vm}-vol")
    row = storage.images.row(f"{vm}-vol")
    return int(recorded), row["size_bytes"] // BYTES_PER_GIB, fact.size_bytes // BYTES_PER_GIB


def test_the_next_start_has_the_new_size(storage: Storage) -> None:
    """The host's copy of the size before gets the difference; nothing is written to what lies behind its end."""
    vm = used_vm(storage, "grows")
    host = storage.images.hosts[HOST]
    before = host.pools.read_volume("tank/grows-vol")
    assert before is not None and before.size_bytes == BYTES_PER_GIB
    assert storage.done(*GROW, vm, "vda", "size=3") == ""
    assert sizes(storage, vm) == (3, 3, 3)
    assert "mapped to" in storage.done(*START, vm)
    storage.images.wait_for_state("grows-vol", "local")
    copy = host.pools.read_volume("tank/grows-vol")
    assert copy is not None and (copy.guid, copy.size_bytes) == (before.guid, 3 * BYTES_PER_GIB)
    assert host.pools.read("tank/grows-vol", 7, 4096) == b"written"
    device = host.kernel.devices["grows-vol-snap"]
    assert isinstance(device.table, Linear)
    assert device.table.length_sectors * BYTES_PER_SECTOR == 3 * BYTES_PER_GIB
    host.pools.write("tank/grows-vol", b"end", 3 * BYTES_PER_GIB - 16384)
    storage.stop(vm)
    assert storage.images.nas.pools.read("tank/grows-vol", 3, 3 * BYTES_PER_GIB - 16384) == b"end"
    assert storage.images.leftovers(HOST) == []
    assert [fact.name for fact in host.pools.list_volumes("tank") if "quarantine" in fact.name] == []


def test_what_is_refused(storage: Storage) -> None:
    """While the machine runs, or its image is on a host; to a smaller size; the record stays, and says what to do."""
    vm = storage.add_vm("stays")
    storage.done(*START, vm)
    storage.images.wait_for_state("stays-vol", "local")
    message = storage.refused(*GROW, vm, "vda", "size=3")
    assert message.startswith(
        f"stays may be running on {HOST}, and its disk {NAS}:tank/stays-vol grows only while"
    )
    assert "rocks stop host vm stays, then rocks stop host vm stays terminate=yes" in message
    storage.release(vm)
    message = storage.refused(*GROW, vm, "vda", "size=3")
    assert message.startswith(f"ZVol stays-vol does not grow: {HOST} has it; stop its machine")
    storage.stop(vm)
    storage.done(*GROW, vm, "vda", "size=3")
    message = storage.refused(*GROW, vm, "vda", "size=2")
    assert message == "the volume tank/stays-vol has 3.0 GiB, more than 2.0 GiB, and does not shrink"
    assert "the NAS's pool has" in storage.refused(*GROW, vm, "vda", "size=90000")
    assert sizes(storage, vm) == (3, 3, 3)


def test_a_command_that_was_killed_is_completed_by_the_same_again(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The volume has grown, and the record has not: a start has the volume's size, and nothing makes it smaller."""
    vm = used_vm(storage, "killed")

    def die(*arguments: object) -> None:
        raise HostError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(record, "replace_disks", die)
        assert storage.rocks(*GROW, vm, "vda", "size=3").status == 1
    assert sizes(storage, vm) == (1, 3, 3)
    message = storage.refused(*GROW, vm, "vda", "size=2")
    assert message == "the volume tank/killed-vol has 3.0 GiB, more than 2.0 GiB, and does not shrink"
    storage.done(*START, vm)
    storage.images.wait_for_state("killed-vol", "local")
    copy = storage.images.hosts[HOST].pools.read_volume("tank/killed-vol")
    assert copy is not None and copy.size_bytes == 3 * BYTES_PER_GIB
    storage.stop(vm)
    storage.done(*GROW, vm, "vda", "size=3")
    storage.done(*GROW, vm, "vda", "size=3")
    assert sizes(storage, vm) == (3, 3, 3)


def test_a_nas_that_ends_while_a_volume_grows(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its record says so: nothing else is done with the image, and the next daemon completes it."""
    vm = used_vm(storage, "restarts")
    nas = storage.images.nas
    with monkeypatch.context() as patch:
        patch.setattr(nas.service._engine, "wake", lambda image_id: None)
        patch.setattr(nas_growth, "MAP_SECONDS", 5.0)
        assert "has not answered within 5 s" in storage.refused(*GROW, vm, "vda", "size=3")
        assert storage.images.row("restarts-vol")["state"] == "growing"
        listed = storage.done("list", "host", "storagemap", NAS).splitlines()
        assert any("restarts-vol" in line and " growing " in line for line in listed)
        assert (
            storage.refused(*GROW, vm, "vda", "size=3") == "ZVol restarts-vol is busy: it gets a larger size"
        )
        message = storage.refused("remove", "host", "storageimg", NAS, "tank", "restarts-vol")
        assert message == "ZVol restarts-vol is busy: it gets a larger size"
    assert sizes(storage, vm) == (1, 1, 1)
    nas.service.close()
    nas.start()
    storage.images.wait_for_state("restarts-vol", "unmapped")
    assert sizes(storage, vm) == (1, 3, 3)
    storage.done(*GROW, vm, "vda", "size=3")
    assert sizes(storage, vm) == (3, 3, 3)


def test_a_disk_that_its_first_start_makes(storage: Storage) -> None:
    """Only the record changes: there is no volume yet."""
    vm = storage.add_vm("later")
    ended = storage.rocks(*GROW, vm, "vda", "size=2")
    assert (ended.status, ended.out) == (0, "")
    assert ended.err == f"{NAS} has no volume later-vol yet: the next start of later makes it\n"
    storage.done(*START, vm)
    assert sizes(storage, vm) == (2, 2, 2)
    storage.stop(vm)


def test_a_volume_that_is_smaller_than_its_record(storage: Storage) -> None:
    """As of an imported image: the volume grows to what is asked for, and the record has that."""
    vm = storage.add_vm("imported")
    storage.done("set", "host", "vm", vm, "disk=file:/images/imported.vda,vda,virtio", "disksize=30")
    storage.done("add", "host", "storageimg", NAS, "tank", "imported-vol", "size=1")
    storage.done(*GROW, vm, "vda", "size=2")
    assert sizes(storage, vm) == (2, 2, 2)


def test_a_volume_without_a_record_grows(storage: Storage) -> None:
    """The NAS has lost its records: the volume is found by its name, and whose it is by its properties."""
    vm, other = used_vm(storage, "adopted"), used_vm(storage, "foreign")
    storage.images.lose_records()
    storage.done(*GROW, vm, "vda", "size=2")
    assert sizes(storage, vm) == (2, 2, 2)
    storage.done("set", "host", "vm", other, "uuid=11111111-2222-3333-4444-555555555555")
    assert "belongs to another machine" in storage.refused(*GROW, other, "vda", "size=2")


def test_a_dry_run_grows_nothing(storage: Storage) -> None:
    """It prints the step, and refuses what the NAS would."""
    vm = used_vm(storage, "tried")
    ended = storage.rocks(*GROW, vm, "vda", "size=2", "dry-run=yes")
    assert ended.status == 0 and "give the image tried-vol the size 2.0 GiB" in ended.out + ended.err
    assert sizes(storage, vm) == (1, 1, 1)
