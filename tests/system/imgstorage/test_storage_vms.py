"""Images of virtual machines: mapped by start, written back after stop, and an obstacle to removal.

The hosts of these tests are played: their agents have every device, and say of a guest what the test wants.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rocks.core.errors import HostError
from rocks.core.process import run
from rocks.fleet.wire.facts import DomainFact, HostFacts
from rocks.leases import machine_requests
from rocks.storage.client import asking
from tests.system.imgstorage.image_site import NAS
from tests.system.imgstorage.storage_site import (
    END,
    HOST,
    OTHER,
    REMOVE,
    START,
    STOP,
    PlayedHosts,
    Storage,
    mapped_lines,
    owner,
)


def test_a_start_maps_the_image_and_the_disk_is_its_device(storage: Storage) -> None:
    vm = storage.add_vm("web")
    lines = mapped_lines(storage, vm)
    assert lines == [f"{NAS}:web-vol mapped to {HOST}:/dev/mapper/web-vol-snap"]
    assert storage.disks(vm) == [("phy", "/dev/mapper", "web-vol-snap")]
    row = storage.images.row("web-vol")
    assert (row["remotehost"], row["remotepool"], row["size_bytes"]) == (HOST, "tank", 2**30)
    assert mapped_lines(storage, vm) == lines, "already so"
    storage.images.wait_for_state("web-vol", "local")
    storage.images.hosts[HOST].pools.write("tank/web-vol", b"written", 4096)
    assert storage.done(*STOP, vm, END) == ""
    assert storage.images.row("web-vol")["state"] == "unmapped"
    assert storage.images.nas.pools.read("tank/web-vol", 7, 4096) == b"written"
    assert storage.images.leftovers(HOST) == []
    assert storage.done(*STOP, vm, END) == "", "twice is harmless"


def test_all_disks_of_all_machines_at_once(storage: Storage) -> None:
    two, one = storage.add_vm("two", "vda", "vdb"), storage.add_vm("one")
    storage.done("add", "host", "vm", HOST, "compute", "name=local")
    before = storage.disks("local")
    assert sorted(mapped_lines(storage, two, one, "local")) == [
        f"{NAS}:one-vol mapped to {HOST}:/dev/mapper/one-vol-snap",
        f"{NAS}:two-vol mapped to {HOST}:/dev/mapper/two-vol-snap",
        f"{NAS}:two-vol1 mapped to {HOST}:/dev/mapper/two-vol1-snap",
    ]
    assert storage.disks(two) == [
        ("phy", "/dev/mapper", "two-vol-snap"),
        ("phy", "/dev/mapper", "two-vol1-snap"),
    ]
    assert storage.disks("local") == before
    storage.done(*STOP, two, one, "local", END)
    assert [owner(storage, volume) for volume in ("two-vol", "two-vol1", "one-vol")] == [None] * 3


def test_a_machine_gets_all_of_its_images_or_none(storage: Storage) -> None:
    """The second is on another host already; the other machine of the command is not concerned."""
    both, fine = storage.add_vm("both", "vda", "vdb"), storage.add_vm("fine")
    storage.map("both-vol1", OTHER)
    disks = storage.disks(both)
    ended = storage.rocks(*START, both, fine)
    assert ended.status == 3, "done for one of them"
    assert (
        f"Error: both is not started on {HOST}: Error when mapping zvol: already mapped: {OTHER} has"
        in ended.err
    )
    assert f"rocks remove host storagemap {NAS} both-vol1" in ended.err
    assert ended.out == f"{NAS}:fine-vol mapped to {HOST}:/dev/mapper/fine-vol-snap\n"
    assert (owner(storage, "both-vol"), owner(storage, "both-vol1")) == (None, OTHER)
    assert storage.disks(both) == disks
    storage.done(*REMOVE, "both-vol1")
    storage.done(*STOP, both, fine, END)


def test_an_image_mapped_before_this_start_stays_mapped(storage: Storage) -> None:
    vm = storage.add_vm("again", "vda", "vdb")
    storage.map("again-vol")
    storage.map("again-vol1", OTHER)
    assert storage.rocks(*START, vm).status == 1
    assert (owner(storage, "again-vol"), owner(storage, "again-vol1")) == (HOST, OTHER)
    storage.done(*REMOVE, "again-vol1")
    storage.done(*STOP, vm, END)


def test_img_sync_of_host_and_machine_decide_about_the_copy(storage: Storage) -> None:
    """The host's img_sync and the machine's, which can only switch it off; the pool is imgstorage-pool's first."""
    vm = storage.add_vm("stays", sync=True)
    storage.done("set", "host", "attr", vm, "img_sync", "false")
    (line,) = mapped_lines(storage, vm)
    assert storage.images.row("stays-vol")["state"] == "remote"
    device = line.partition(f"mapped to {HOST}:")[2]
    assert storage.disks(vm) == [("phy", device.rpartition("/")[0], device.rpartition("/")[2])]
    storage.done(*STOP, vm, END)
    storage.done("set", "host", "attr", HOST, "img_sync", "no")
    storage.done("set", "host", "attr", vm, "img_sync", "true")
    mapped_lines(storage, vm)
    assert storage.images.row("stays-vol")["state"] == "remote"
    storage.done(*STOP, vm, END)


def test_host_without_copies_needs_no_pool(storage: Storage) -> None:
    """With img_sync no it may have no ZFS at all; and what is on the NAS at once cannot be thrown away."""
    vm = storage.add_vm("poolless", sync=False)
    storage.done("set", "host", "attr", HOST, "vm_container_zpool", "nosuch")
    storage.done("set", "host", "attr", vm, "img_persistent", "no")
    assert f"without a copy there (img_sync no) it writes to {NAS} directly" in storage.rocks(*START, vm).err
    storage.done("remove", "host", "attr", vm, "img_persistent")
    mapped_lines(storage, vm)
    assert storage.images.row("poolless-vol")["state"] == "remote"
    storage.done(*STOP, vm, END)


def test_writes_are_discarded_if_the_attribute_requests_it(storage: Storage) -> None:
    """Also at the first start, when the NAS does not know the image yet; and retained again when it reports so."""
    vm = storage.add_vm("amnesia")
    storage.done("set", "host", "attr", vm, "img_persistent", "no")
    for start in range(2):
        assert (
            "amnesia-vol is not persistent: changes of amnesia are discarded" in storage.rocks(*START, vm).err
        )
        assert storage.images.row("amnesia-vol")["persistent"] is False
        storage.images.wait_for_state("amnesia-vol", "local")
        storage.images.hosts[HOST].pools.write("tank/amnesia-vol", b"gone tomorrow", 4096 * (start + 1))
        storage.done(*STOP, vm, END)
        assert storage.images.nas.pools.read("tank/amnesia-vol", 13, 4096 * (start + 1)) == bytes(13)
    storage.done("remove", "host", "attr", vm, "img_persistent")
    assert "is not persistent" in storage.rocks(*START, vm).err, (
        "without the attribute the image's own counts"
    )
    storage.done("set", "host", "attr", vm, "img_persistent", "yes")
    assert "is not persistent" not in storage.rocks(*START, vm).err
    assert storage.images.row("amnesia-vol")["persistent"] is True
    storage.done(*STOP, vm, END)


def test_an_attribute_that_is_neither_yes_nor_no_is_refused(storage: Storage) -> None:
    vm = storage.add_vm("unclear")
    storage.done("set", "host", "attr", vm, "img_persistent", "no")
    # as an earlier release stored it
    storage.cluster.change("UPDATE attributes SET Value = 'perhaps' WHERE Attr = 'img_persistent'")
    assert 'is "perhaps"; it must be yes' in storage.rocks(*START, vm).err
    assert owner(storage, "unclear-vol") is None
    assert storage.lease("unclear")[0] == "released"


def test_plain_stop_and_reset_leave_the_image_where_it_is(storage: Storage) -> None:
    vm = storage.add_vm("resting")
    mapped_lines(storage, vm)
    for arguments in ((), ("action=reset",), ("action=reboot",), ("action=shutdown", "timeout=1")):
        storage.rocks(*STOP, vm, *arguments)
        assert owner(storage, "resting-vol") == HOST
    storage.done(*STOP, vm, END)


def test_the_lease_token_travels(storage: Storage) -> None:
    """The NAS rejects a start under an older lease than the image had."""
    vm = storage.add_vm("leased")
    mapped_lines(storage, vm)
    storage.done(*STOP, vm, END)
    ((token,),) = storage.cluster.rows("SELECT Token FROM vm_leases WHERE Name = %s", [vm])
    service = storage.images.nas.service
    image = service._engine.image_of("leased-vol")
    assert image is not None and image.lease_token is not None and 0 < image.lease_token <= token
    newer = image.lease_token + token + 100
    service._engine.add(replace(image, lease_token=newer))
    assert f"is older than its last lease {newer}" in storage.rocks(*START, vm).err


def test_a_device_in_use_is_not_taken_away(storage: Storage) -> None:
    """The unmap is rejected with the reason; the image stays as it was, and the other machine's is written back."""
    vm, other = storage.add_vm("busy"), storage.add_vm("idle")
    mapped_lines(storage, vm, other)
    for volume in ("busy-vol", "idle-vol"):
        storage.images.wait_for_state(volume, "local")
    device = storage.images.hosts[HOST].kernel.devices["busy-vol-snap"]
    device.holders += 1
    ended = storage.rocks(*STOP, vm, other, END)
    assert ended.status == 3, "done for one of them"
    assert "/dev/mapper/busy-vol-snap is in use" in ended.err
    assert (owner(storage, "busy-vol"), owner(storage, "idle-vol")) == (HOST, None)
    assert "busy-vol-snap" in storage.images.hosts[HOST].kernel.devices
    device.holders -= 1
    storage.images.wait_for_state("busy-vol", "local")
    storage.done(*STOP, vm, END)
    assert owner(storage, "busy-vol") is None


def test_the_image_of_a_running_machine_stays_mapped(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The news that it had ended came after its next start."""
    vm = storage.add_vm("restarted")
    mapped_lines(storage, vm)
    domain = DomainFact(vm, "u", "running", 1, 64, 1, False, True, False)
    facts = HostFacts(1024, 4, True, True, (domain,), (), ())
    with monkeypatch.context() as patch:
        patch.setattr(machine_requests, "contact_hosts", lambda *_: {HOST: facts})
        message = storage.refused(*STOP, vm, END)
    assert message.startswith(f"the machine restarted is running on {HOST}, so its image stays there")
    assert owner(storage, "restarted-vol") == HOST
    storage.done(*STOP, vm, END)


# --- removal -------------------------------------------------------------------------------------------------------


def test_a_machine_whose_image_a_host_has_is_not_removed(storage: Storage) -> None:
    vm = storage.add_vm("kept")
    mapped_lines(storage, vm)
    for arguments in (("remove", "host", "vm", vm), ("remove", "host", vm)):
        message = storage.refused(*arguments)
        assert message.startswith(f"host kept is not removed: its image {NAS}:kept-vol is mapped to {HOST}")
        assert "rocks stop host vm kept terminate=yes" in message
    storage.done(*STOP, vm, END)
    assert storage.rocks("remove", "host", vm).status == 0
    assert storage.images.row("kept-vol")["state"] == "unmapped", "the image stays"


def test_a_nas_that_is_silent_is_a_warning(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    vm = storage.add_vm("unknown")
    monkeypatch.setattr(asking, "QUICK_SECONDS", 0.5)
    with storage.images.nas.away():
        assert "has not answered within 0.5 s" in storage.rocks(*START, vm).err
        ended = storage.succeeded("remove", "host", vm)
    assert "Warning: whether unknown-vol of nas-0-0 is still mapped is not known" in ended.err
    assert owner(storage, "unknown-vol") is None


@pytest.mark.parametrize("fault", ["no certificate", "broker attribute"])
def test_a_frontend_that_cannot_ask_warns(storage: Storage, certified: Path, fault: str) -> None:
    """The images are mapped, and this machine can ask no NAS any more."""
    commands = {f"{fault[:2]}-asked": ["remove", "host", "vm"]}
    if fault == "no certificate":
        # with the invalid attribute `remove host` is refused: it asks the broker for more
        commands["no-whole"] = ["remove", "host"]
    for vm in commands:
        mapped_lines(storage, storage.add_vm(vm))
        storage.release(vm)
    if fault == "no certificate":
        reason = f"head has no certificate in {certified}/node.pem"
        (certified / "node.pem").unlink()
    else:
        reason = "the attribute RABBITMQ_Server of host head is not valid"
        storage.cluster.set_as_before("RABBITMQ_Server", "a b")
    for vm, command in commands.items():
        ended = storage.succeeded(*command, vm)
        assert f"Warning: whether {vm}-vol of {NAS} is still mapped is not known ({reason}" in ended.err
        assert owner(storage, f"{vm}-vol") == HOST
    storage.done("add", "host", "vm", HOST, "compute", "name=local")
    assert "still mapped" not in storage.succeeded("remove", "host", "vm", "local").err, (
        "it has no image on a NAS"
    )


# --- what machines without images pay ------------------------------------------------------------------------------


def test_a_start_without_an_image_loads_nothing_of_image_storage(storage: Storage) -> None:
    program = (
        "import sys\n"
        "from rocks.cli.main import main\n"
        "main(sys.argv[1:])\n"
        "heavy = ('amqp', 'rocks.storage.client', 'rocks.storage.bus', 'rocks.storage.volumes.access')\n"
        "print('loaded', sorted(name for name in sys.modules if name.startswith(heavy) or 'imgstorage' in name))\n"
    )
    storage.done("add", "host", "vm", HOST, "compute", "name=plain")
    command = [sys.executable, "-c", program, *START, "plain"]
    source = str(Path(__file__).parents[3] / "src")
    ended = run(command, deadline_seconds=60, environment={**os.environ, "PYTHONPATH": source})
    assert "is not started" in ended.error_text, ended.error_text
    expected = ["rocks.commands.start.host.vm.plugin_allocate_imgstorage"]
    assert ended.text == f"loaded {expected}\n"


def test_machines_without_images_cost_one_statement(storage: Storage, hosts: PlayedHosts) -> None:
    hosts.facts_error = HostError("silent")
    names = [f"plain-{number}" for number in range(9)]
    for name in names:
        storage.done("add", "host", "vm", HOST, "compute", f"name={name}")
    one, many = storage.rocks(*START, names[0]), storage.rocks(*START, *names[1:])
    assert (one.status, many.status) == (1, 1)
    assert many.statements == one.statements
    arguments = ("list", "host", "vm")
    assert (
        storage.rocks(*STOP, names[0], END).statements <= storage.rocks(*arguments, names[0]).statements + 12
    )
