"""`rocks move host storageimg`: what an operator types, with its record in the database and two real NASes."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from rocks.machine.record import load_vms
from rocks.machine.volumes import map_vm_images
from rocks.storage.volumes import move_records
from rocks.storage.volumes.move_records import ImageMove
from rocks.storage.wire import requests as wire
from tests.system.imgstorage.image_site import NAS, ImageSite, NasMachine
from tests.system.imgstorage.real_broker import RealBroker
from tests.system.imgstorage.storage_site import HOST, Storage

MIB = 2**20
MOVE = ("move", "host", "storageimg")


class Moving(NamedTuple):
    """The commands and daemons, and the second NAS."""

    storage: Storage
    nas: NasMachine

    def add(self, name: str) -> str:
        """A machine with an image that has content; returns the name of its volume."""
        self.storage.add_vm(name)
        volume = f"{name}-vol"
        pools = self.storage.images.nas.pools
        self.storage.images.ask(wire.AddZvol("tank", volume, 4 * MIB))
        pools.write(f"tank/{volume}", name.encode() * 1000, MIB)
        return volume

    def places(self, name: str) -> list[tuple[object, ...]]:
        return self.storage.cluster.rows(
            "SELECT s.nas_name, s.zpool_name FROM img_nas_server s JOIN vm_disks d ON d.ID = s.vm_disk_id"
            " JOIN vm_nodes v ON v.ID = d.Vm_Node JOIN nodes n ON n.ID = v.Node WHERE n.Name = %s",
            [name],
        )

    def moves(self) -> list[ImageMove]:
        """Moves that have begun and not ended, as the database has them."""
        self.storage.cluster.database.rollback()
        return move_records.read_moves(self.storage.cluster.database)

    def states(self, volume: str) -> list[str | None]:
        found = []
        for nas in (NAS, self.nas.name):
            rows = self.storage.images.ask(wire.ListZvols(), nas)["body"]
            found.append(next((str(row["state"]) for row in rows if row["zvol"] == volume), None))
        return found

    def begin(self, volume: str) -> None:
        """What a command leaves that is killed at once: its record, and what it has asked of the NASes."""
        database = self.storage.cluster.database
        move_records.put_move(database, ImageMove(NAS, volume, self.nas.name, "tank"))
        database.commit()
        row = self.storage.images.row(volume)
        self.storage.images.ask(wire.AcceptZvol("tank", volume, NAS, str(row["image_id"])), self.nas.name)


@pytest.fixture(scope="module")
def second(
    daemons: ImageSite, real_broker: RealBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NasMachine]:
    """The daemon of the second NAS."""
    made = NasMachine(
        tmp_path_factory.mktemp("second"), real_broker, daemons.nas.stream_port, real_broker.fresh_nas()
    )
    made.start()
    yield made
    made.service.close()


@pytest.fixture
def moving(storage: Storage, second: NasMachine) -> Moving:
    """A site with two NASes; the second has one pool for images."""
    storage.done("add", "host", second.name, "membership=NAS Appliance", "rack=0", "rank=1")
    storage.done("set", "host", "attr", second.name, "img_zpools", "tank")
    return Moving(storage, second)


def test_move_of_a_machines_disk(moving: Moving) -> None:
    """The content is there, the machine's next start maps it there, the old volume can be restored."""
    volume = moving.add("vm-a")
    out = moving.storage.done(*MOVE, NAS, volume, f"to={moving.nas.name}")
    assert out.splitlines() == [
        f"{NAS}:{volume} moved to {moving.nas.name}:tank/{volume}",
        f"the old volume stays on {NAS} for 24 hours",
        "Success",
    ]
    assert moving.places("vm-a") == [(moving.nas.name, "tank")] and moving.moves() == []
    assert moving.states(volume) == ["deleting", "unmapped"]
    assert moving.nas.pools.read(f"tank/{volume}", 4, MIB) == b"vm-a"
    listed = moving.storage.done("list", "host", "storagemap", NAS)
    assert f"moved to {moving.nas.name}; this volume was removed, can be restored until" in listed
    again = moving.storage.done(*MOVE, NAS, volume, f"to={moving.nas.name}")
    assert again == out
    moving.storage.done("restore", "host", "storageimg", NAS, volume)
    assert moving.states(volume) == ["unmapped", "unmapped"]
    assert moving.places("vm-a") == [(moving.nas.name, "tank")]
    text = moving.storage.refused(*MOVE, NAS, volume, f"to={moving.nas.name}")
    assert f"exists already on {moving.nas.name}" in text


def test_move_of_an_image_of_no_machine(moving: Moving) -> None:
    """A golden image, for example."""
    moving.storage.images.ask(wire.AddZvol("tank", "golden", MIB))
    moving.storage.done(*MOVE, NAS, "golden", f"to={moving.nas.name}", "zpool=tank")
    assert moving.states("golden") == ["deleting", "unmapped"]


def test_what_the_command_refuses(moving: Moving) -> None:
    """With one line each, and nothing changed anywhere."""
    volume, there = moving.add("vm-b"), moving.nas.name
    refused = moving.storage.refused
    assert "to= is missing" in refused(*MOVE, NAS, volume)
    assert "must supply nas, volume" in refused(*MOVE, NAS, f"to={there}")
    assert f"is on {NAS} already" in refused(*MOVE, NAS, volume, f"to={NAS}")
    assert f"host {HOST} is not a NAS" in refused(*MOVE, NAS, volume, f"to={HOST}")
    assert "nosuchhost" in refused(*MOVE, NAS, volume, "to=nosuchhost")
    assert "nopool" in refused(*MOVE, NAS, volume, f"to={there}", "zpool=nopool")
    assert "zpool" in refused(*MOVE, NAS, volume, f"to={there}", "zpool=mirror")
    assert "is not valid" in refused(*MOVE, NAS, "../etc", f"to={there}")
    assert f"is neither on {NAS} nor on {there}" in refused(*MOVE, NAS, "nothing", f"to={there}")
    moving.storage.done("set", "host", "attr", there, "img_zpools", "a,b")
    assert f"{there} has the pools a, b" in refused(*MOVE, NAS, volume, f"to={there}")
    moving.storage.done("set", "host", "attr", there, "img_zpools", "tank")
    moving.storage.images.ask(wire.AddZvol("tank", "vm-b-clone", origin=volume))
    assert "tank/vm-b-clone is a clone of" in refused(*MOVE, NAS, volume, f"to={there}")
    assert moving.moves() == [] and moving.states(volume) == ["unmapped", None]
    moving.storage.map(volume)
    assert f"{HOST} has it (local)" in refused(*MOVE, NAS, volume, f"to={there}")
    moving.storage.done("remove", "host", "storagemap", NAS, volume)
    assert moving.states(volume) == ["unmapped", None]


def test_nothing_uses_the_image_meanwhile_and_a_killed_command_is_completed(moving: Moving) -> None:
    """No start, no other place, no removal; the message has the command, and that completes the move."""
    volume, there = moving.add("vm-c"), moving.nas.name
    moving.begin(volume)
    command = f"rocks move host storageimg {NAS} {volume} to={there} zpool=tank"
    assert command in moving.storage.refused("set", "host", "vm", "nas", "vm-c", "nas=none")
    assert command in moving.storage.refused("remove", "host", "vm", "nas", "vm-c")
    assert command in moving.storage.refused("remove", "host", "vm", "vm-c")
    database = moving.storage.cluster.database
    database.rollback()
    watcher: object = None
    mapped = map_vm_images(database, load_vms(database, ["vm-c"]), watcher, [])  # type: ignore[arg-type]
    assert command in str(mapped.failed["vm-c"])
    database.rollback()
    moving.storage.images.ask(wire.MoveZvol(volume, there, "tank", 3600))
    assert moving.places("vm-c") == [(NAS, "tank")]
    moving.storage.done(*command.split()[1:])
    assert moving.places("vm-c") == [(there, "tank")] and moving.moves() == []


def test_command_is_completed_after_the_old_volume_is_gone(moving: Moving) -> None:
    """A day later the database still has the record of the move."""
    volume, there = moving.add("vm-d"), moving.nas.name
    moving.begin(volume)
    moving.storage.images.ask(wire.MoveZvol(volume, there, "tank", 0))
    moving.storage.images.wait_for(lambda: moving.states(volume)[0] is None, "destroyed")
    moving.storage.done(*MOVE, NAS, volume, f"to={there}")
    assert moving.places("vm-d") == [(there, "tank")] and moving.moves() == []


@pytest.mark.parametrize("name", [0, 1])
def test_cancel_on_either_nas(moving: Moving, name: int) -> None:
    """Nothing of the move remains; the next attempt begins anew."""
    volume, there = moving.add(f"vm-e{name}"), moving.nas.name
    moving.begin(volume)
    moving.storage.done("cancel", "host", "storagemap", (NAS, there)[name], volume)
    assert moving.moves() == [] and moving.states(volume) == ["unmapped", None]
    moving.storage.done(*MOVE, NAS, volume, f"to={there}")
    refused = moving.storage.refused("cancel", "host", "storagemap", NAS, volume)
    assert "has nothing that can be cancelled" in refused


def test_rename_of_a_nas_renames_it_in_moves(moving: Moving, tmp_path: Path) -> None:
    """As in the places of disks."""
    volume = moving.add("vm-f")
    moving.begin(volume)
    moving.storage.done("set", "host", "name", moving.nas.name, "nas-new")
    assert moving.moves() == [ImageMove(NAS, volume, "nas-new", "tank")]
    moving.storage.done("set", "host", "name", "nas-new", moving.nas.name)
    moving.storage.done("cancel", "host", "storagemap", NAS, volume)
