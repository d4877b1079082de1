"""Disk images, snapshots and ISOs on hosts: who owns them, who may use them, what is removed and what stays."""

import os
import time
from pathlib import Path

import pytest

from rocks.machine.host.files import ATTRIBUTE
from rocks.machine.host.images import MAX_IMAGES
from tests.system.machines.site import NEW, OLD, MachineSite

DISKS = ("g.vda", "g.vdb")
SECTOR = 2048


def rows(machines: MachineSite, host: str = OLD) -> list[tuple[str, str]]:
    """(file name, machine) of each image of a host."""
    listed = machines.rocks(f"list host image {host} output-header=no output-col=file,vm").out
    return sorted((line.split()[-2].rpartition("/")[2], line.split()[-1]) for line in listed.splitlines())


def owner(path: Path) -> str:
    return os.getxattr(path, ATTRIBUTE).decode()


@pytest.mark.slow
def test_a_machine_never_gets_the_disk_of_a_removed_namesake(machines: MachineSite) -> None:
    machines.started("fe")
    former = owner(machines.image("fe.vda"))
    assert machines.uuid("fe") == former
    machines.write("fe.vda", b"secret!")
    machines.run("stop host vm fe")
    assert "fe.vda stays" in machines.run("remove host vm fe")
    machines.run("remove host fe")
    assert rows(machines) == [("fe.vda", "removed")]
    machines.add("fe")
    error = machines.refused("start host vm fe")
    assert f"that is there belongs to another machine ({former})" in error
    assert machines.refused("start host vm fe dry-run=yes") == error
    give, remove = error.index(f"rocks set host image {OLD} "), error.index(f"rocks remove host image {OLD} ")
    assert 0 < give < remove
    assert machines.running("fe") == [] and machines.read("fe.vda") == b"secret!"
    machines.run(f"remove host image {OLD} {machines.image('fe.vda')}")
    machines.run("start host vm fe")
    assert (
        machines.read("fe.vda") == bytes(7)
        and owner(machines.image("fe.vda")) == machines.uuid("fe") != former
    )


def test_no_empty_disk_takes_the_place_of_an_image_that_is_missing(machines: MachineSite) -> None:
    """The library has lost it since: the start is refused, and makes nothing that a later one would boot."""
    machines.add("guest")
    machines.site.set_as_before("vm_image", "lost", "guest")
    assert "guest is not started: its disk has to be made: " in machines.refused("start host vm guest")
    machines.run("set host attr guest vm_image volume:golden")
    assert "rocks set host vm nas guest nas=NAS zpool=POOL" in machines.refused("start host vm guest")
    assert not machines.image("guest.vda").exists() and machines.running("guest") == []
    assert "letters, digits" in machines.refused("set host attr guest vm_image volume:tank/golden")


@pytest.mark.slow
def test_an_image_that_root_copies_to_the_path_of_a_new_disk_is_the_machine_s(machines: MachineSite) -> None:
    """The published pragma_boot does so: the path is that of `list host vm showdisks=yes`, and the start follows."""
    machines.add("booted")
    image, content = machines.image("booted.vda"), b"a system" * 64
    assert str(image) in machines.run("list host vm booted showdisks=yes")
    time.sleep(1)  # the records count seconds
    image.write_bytes(b"QFI\xfb" + bytes(508))
    for dry_run in (" dry-run=yes", ""):
        error = machines.refused(f"start host vm booted{dry_run}")
        assert f": qemu-img convert -f qcow2 -O raw '{image}' NEW, and move NEW to its place" in error
        assert "rocks set host image" not in error, "it would start with the header as its first sector"
    image.write_bytes(content)
    image.chmod(0o644)
    machines.run("start host vm booted dry-run=yes")
    assert rows(machines) == [("booted.vda", "nobody")], "a dry run takes nothing"
    notice = machines.rocks(f"list host image {OLD}").err
    assert (
        "A machine whose disk is at the path of one takes it at its start, if root put it there after"
        in notice
    )
    assert f"; if it is no machine's disk, rocks remove host image {OLD} '{image}' removes it" in notice
    assert "No machine starts with them" not in notice
    machines.run("start host vm booted")
    assert machines.running("booted") and image.read_bytes() == content
    assert image.stat().st_mode & 0o777 == 0o600 and owner(image) == machines.uuid("booted")
    assert rows(machines) == [("booted.vda", "booted")]
    machines.run("stop host vm booted")


@pytest.mark.slow
def test_an_unmarked_disk_of_a_removed_machine_is_not_its_namesake_s(machines: MachineSite) -> None:
    """As one of classic Rocks, which marked none: the name and the path are the same, and the file was there before."""
    image, content = machines.image("again.vda"), b"the former owner's data"
    image.write_bytes(content)
    image.chmod(0o600)
    time.sleep(2)  # the records count seconds
    machines.add("again")
    for dry_run in (" dry-run=yes", ""):
        error = machines.refused(f"start host vm again{dry_run}")
        assert f"the disk {image} that is there: it was there before the machine had this disk" in error
        assert f"rocks set host image {OLD} " in error
    assert image.read_bytes() == content and ATTRIBUTE not in os.listxattr(image)
    # a disk at another path is another disk: what was at that path before is not the machine's
    other = machines.image("other.vda")
    other.write_bytes(content)
    time.sleep(2)
    machines.run(f"set host vm again disk=file:{other},vda,virtio")
    assert "it was there before" in machines.refused("start host vm again")
    machines.run(f"set host vm again disk=file:{image},vda,virtio")
    machines.add("second")
    machines.run(f"set host vm second disk=file:{image},vda,virtio")
    image.unlink()
    image.write_bytes(content)
    shared = machines.refused("start host vm again")
    assert "nobody is known to own" in shared, "two machines have the path: nobody knows for which it is"


def test_an_image_copied_into_place_is_given_by_the_operator(machines: MachineSite) -> None:
    """Neither the start that is refused nor the one that follows touches its content."""
    machines.add("copied")
    image, content = machines.image("copied.vda"), b"precious" * 64
    image.write_bytes(content)
    image.chmod(0o664)
    for dry_run in ("", " dry-run=yes"):
        assert "nobody is known to own the disk" in machines.refused(f"start host vm copied{dry_run}")
    assert image.read_bytes() == content and machines.lease("copied")[1:] == ("released", None)
    assert rows(machines) == [("copied.vda", "nobody")]
    assert "images of nobody (copied into place) here: 1. " in machines.rocks(f"list host image {OLD}").err
    assert machines.rocks(f"list host image {OLD} json=yes").err == ""
    machines.run(f"set host image {OLD} {image} vm=copied")
    machines.run(f"set host image {OLD} {image} vm=copied")
    assert image.stat().st_mode & 0o777 == 0o600 and owner(image) == machines.uuid("copied")
    assert rows(machines) == [("copied.vda", "copied")]
    machines.run("start host vm copied")
    machines.add("thief")
    assert "is the disk of copied" in machines.refused(f"set host image {OLD} {image} vm=thief")
    machines.run("stop host vm copied")
    assert image.read_bytes() == content
    machines.run(f"set host vm copied disk=file:{machines.image('other.vda')},vda,virtio")
    refused = machines.refused(f"set host image {OLD} {image} vm=thief")
    assert "belongs to copied, which exists; copy the file" in refused
    assert owner(image) == machines.uuid("copied")
    machines.site.database.lock("vm thief", 0)
    assert "another command is changing thief" in machines.refused(f"set host image {OLD} {image} vm=thief")
    machines.site.database.unlock("vm thief")


def test_only_unused_images_are_removed(machines: MachineSite) -> None:
    machines.started("owner")
    path = machines.image("owner.vda")
    assert "is the disk of owner" in machines.refused(f"remove host image {OLD} {path}")
    stray = machines.image("stray.vda")
    stray.write_bytes(b"data")
    assert f"is not a disk image on {OLD}" in machines.refused(f"remove host image {OLD} /etc/shadow")
    assert "must be discard or overwrite" in machines.refused(f"set host attr {OLD} vm_image_erase shred")
    machines.run(f"set host attr {OLD} vm_image_erase overwrite")
    machines.run(f"remove host image {OLD} {stray}")
    assert machines.files(OLD) == ["owner.vda"]
    assert 'disks "all" must be keep or remove' in machines.refused("remove host vm owner disks=all")
    machines.run("remove host vm owner disks=remove")
    assert rows(machines) == [] and machines.hosts[OLD].domains.facts() == ()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["remove host vm", "remove host"])
def test_a_removal_names_only_disks_of_the_removed_machine(machines: MachineSite, command: str) -> None:
    machines.started("one")
    machines.started("two")
    printed = machines.run(f"{command} one")
    assert f"one was running on {OLD}, and is powered off\n" in printed
    assert f"{OLD}:{machines.image('one.vda')} stays" in printed and "two.vda" not in printed
    assert machines.running("two") == [OLD] and machines.running("one") == []
    assert machines.files(OLD) == ["one.vda", "two.vda"]
    assert ("one:" in machines.run("list host").split()) == (command == "remove host vm")


def test_the_seed_of_a_removed_machine_goes_with_its_disk(machines: MachineSite) -> None:
    machines.started("gone")
    disk, seed, other = (machines.image(f"gone.vda{end}") for end in ("", ".seed", ".seeds"))
    for file in (seed, other):
        file.touch()
        os.setxattr(file, "trusted.rocks.machine", machines.uuid("gone").encode())
    machines.run("stop host vm gone")
    machines.run("remove host vm gone")
    machines.run(f"remove host image {OLD} '{disk}'")
    assert machines.files(OLD) == [other.name]


@pytest.mark.parametrize("command", ["remove host vm", "remove cluster", "remove host vm disks=remove"])
def test_the_seed_of_a_removed_machine_with_an_image_of_a_nas_goes_with_it(
    machines: MachineSite, command: str
) -> None:
    """It has the secrets of the cluster, and no disk is beside it."""
    machines.run(f"add host vm {OLD} membership=Frontend name=gone mem=64 disksize=1 vlan=99")
    machines.run("add host nas-0-0 membership='NAS Appliance' rack=0 rank=0")
    machines.site.set_as_before("vm_image", "debian", "gone")
    machines.run("set host vm nas gone nas=nas-0-0 zpool=tank")
    seed, other = machines.image("gone.seed"), machines.image("other.seed")
    for file, uuid in ((seed, machines.uuid("gone")), (other, "other")):
        file.touch()
        os.setxattr(file, "trusted.rocks.machine", uuid.encode())
    machines.run(f"{command} gone")
    assert machines.files(OLD) == [other.name]


def test_the_seeds_on_a_host_where_removed_machines_were_before_go_too(machines: MachineSite) -> None:
    """A host that does not answer, as the failed one that they have left, is asked for them once."""
    machines.run("add host nas-0-0 membership='NAS Appliance' rack=0 rank=0")
    seeds = []
    for vlan, name in ((99, "gone"), (98, "lost"), (97, "last")):
        machines.run(f"add host vm {OLD} membership=Frontend name={name} mem=64 disksize=1 vlan={vlan}")
        machines.site.set_as_before("vm_image", "debian", name)
        machines.run(f"set host vm nas {name} nas=nas-0-0 zpool=tank")
        seeds.append(machines.image(f"{name}.seed"))
        seeds[-1].touch()
        os.setxattr(seeds[-1], "trusted.rocks.machine", machines.uuid(name).encode())
        machines.run(f"set host vm {name} physnode={NEW}")
    assert machines.files(OLD) == sorted(seed.name for seed in seeds)
    machines.run("remove host vm gone")
    assert machines.files(OLD) == sorted(seed.name for seed in seeds[1:])
    machines.vanish(OLD)
    lines = [line for line in machines.run("remove host vm lost last").splitlines() if "secrets" in line]
    assert (
        len(lines) == 1 and "files with secrets of " in lines[0] and "lost" in lines[0] and "last" in lines[0]
    )
    assert f"may stay on {OLD}: " in lines[0] and f"rocks list host image {OLD}" in lines[0]


def test_a_removal_with_disks_leaves_no_snapshot(machines: MachineSite) -> None:
    machines.started("gone")
    machines.run("stop host vm gone")
    machines.run("add host vm snapshot gone before")
    assert len(machines.files(OLD)) == 2
    assert "gone.vda.snapshot.before.1-of-1 is removed" in machines.run("remove host vm gone disks=remove")
    assert machines.files(OLD) == []


def test_a_removal_with_disks_names_a_detached_disk(machines: MachineSite) -> None:
    machines.add("gone")
    machines.run(f"add host vm disk gone disk=file:{machines.image('gone.vdb')},vdb,virtio disksize=1")
    machines.run("start host vm gone")
    machines.run("stop host vm gone")
    machines.run("remove host vm disk gone vdb")
    printed = machines.run("remove host vm gone disks=remove")
    path = machines.image("gone.vdb")
    remove = f"rocks remove host image {OLD} '{path}'"
    assert f"the disk image {OLD}:{path} stays; when it is not needed: {remove}" in printed
    assert "gone.vda is removed" in printed and machines.files(OLD) == ["gone.vdb"]
    machines.run(remove.removeprefix("rocks "))
    assert machines.files(OLD) == []


def test_a_removal_prints_why_a_host_that_answers_has_not_listed_its_images(machines: MachineSite) -> None:
    machines.add("gone")
    crowded = machines.image("crowded")
    crowded.mkdir()
    for number in range(MAX_IMAGES + 1):
        (crowded / f"{number}.log").touch()
    machines.run(f"set host vm gone disk=file:{crowded}/gone.vda,vda,virtio")
    (line,) = (line for line in machines.run("remove host vm gone").splitlines() if "is not known" in line)
    assert line.startswith(
        f"whether disk images stay on {OLD} is not known; see rocks list host image {OLD}: "
    )
    assert f" has more than {MAX_IMAGES} files; is it an image directory?" in line


def test_a_removal_with_disks_names_what_removes_the_disk_of_another_machine(machines: MachineSite) -> None:
    machines.add("gone")
    path = machines.image("gone.vda")
    path.touch()
    os.setxattr(path, "trusted.rocks.machine", b"1fee0c0a-0000-4000-8000-000000000001")
    printed = machines.run("remove host vm gone disks=remove")
    assert " now, not to " in printed
    assert f"when it is not needed: rocks remove host image {OLD} '{path}'\n" in printed


@pytest.mark.slow
def test_a_removal_that_dies_at_any_effect_is_completed(machines: MachineSite) -> None:
    machines.started("gone")
    for _ in machines.deaths("remove host vm gone disks=remove"):
        ended = machines.rocks("remove host vm gone disks=remove")
        assert ended.status == 0 or "is not a virtual host" in ended.err or "resolve" in ended.err, ended
        if machines.sql("SELECT 1 FROM vm_leases WHERE Name = 'gone' AND State <> 'released'"):
            machines.run("stop host vm gone")
        assert machines.running("gone") == [] and machines.lease("gone")[1] == "released"
        for path in machines.hosts[OLD].images.iterdir():
            machines.run(f"remove host image {OLD} {path}")
        machines.rocks("remove host gone")
        machines.started("gone")


@pytest.fixture
def two_disks(machines: MachineSite) -> MachineSite:
    """The machine `g` is off; its two disks have content."""
    machines.add("g")
    machines.run(f"add host vm disk g disk=file:{machines.image('g.vdb')},vdb,virtio disksize=1")
    machines.run("start host vm g")
    machines.run("stop host vm g")
    write(machines, b"first. ")
    return machines


def write(machines: MachineSite, text: bytes) -> None:
    for name in DISKS:
        machines.write(name, text)


def contents(machines: MachineSite, suffix: str = "") -> list[bytes]:
    return [
        machines.read(name + (f".snapshot.{suffix}.{number}-of-2" if suffix else ""))
        for number, name in enumerate(DISKS, start=1)
    ]


def test_a_running_machine_is_copied_and_restored(two_disks: MachineSite) -> None:
    machines = two_disks
    machines.run("start host vm g")
    printed = machines.run("add host vm snapshot g monday")
    assert "were not frozen, so the copy is as after a power cut" in printed
    assert contents(machines, "monday") == [b"first. "] * 2
    copy = machines.image("g.vda.snapshot.monday.1-of-2")
    assert owner(copy) == machines.uuid("g") and copy.stat().st_mode & 0o777 == 0o600
    assert copy.stat().st_size == 1000**3
    assert "has a snapshot monday already" in machines.refused("add host vm snapshot g monday")
    assert "stop it first" in machines.refused("restore host vm snapshot g monday")
    machines.run("stop host vm g")
    write(machines, b"second ")
    machines.run("add host vm snapshot g tuesday")
    write(machines, b"third. ")
    machines.run("set host vm disk g vda size=2")
    machines.run("restore host vm snapshot g monday")
    assert contents(machines) == [b"first. "] * 2 and contents(machines, "tuesday") == [b"second "] * 2
    assert machines.image("g.vda").stat().st_size == 1000**3
    machines.run("set host vm disk g vda size=2")
    assert machines.image("g.vda").stat().st_size == 2 * 1000**3
    listed = machines.run(
        "list host vm snapshot g output-header=no output-col=snapshot,files,state,consistent"
    )
    assert [line.split()[-4:] for line in listed.splitlines()] == [
        ["monday", "2", "complete", "no"],
        ["tuesday", "2", "complete", "off"],
    ]
    os.removexattr(machines.image("g.vda.snapshot.tuesday.1-of-2"), "trusted.rocks.moment")
    listed = machines.run("list host vm snapshot g output-header=no output-col=consistent")
    assert [line.split()[-1] for line in listed.splitlines()] == ["no", "unknown"]
    machines.run("remove host vm snapshot g tuesday")
    assert [name for name in machines.files(OLD) if "tuesday" in name] == []
    assert "has no snapshot tuesday; it has: monday" in machines.refused("remove host vm snapshot g tuesday")
    assert "no snapshot mondya; did you mean monday?" in machines.refused("remove host vm snapshot g mondya")
    machines.run("start host vm g")
    assert "g.vda.snapshot.monday.1-of-2 stays" in machines.run("remove host vm g")
    assert contents(machines, "monday") == [b"first. "] * 2


@pytest.mark.parametrize("of", ["another", ""])
def test_a_file_in_the_place_of_a_copy_stays(two_disks: MachineSite, of: str) -> None:
    """The command succeeded without a copy where all were there, and removed it where one was."""
    files = [two_disks.image(f"{name}.snapshot.monday.{number}-of-2") for number, name in enumerate(DISKS, 1)]
    for file in files:
        file.write_bytes(b"somebody's")
        if of:
            os.setxattr(file, "trusted.rocks.machine", of.encode())
        assert "is not of this machine" in two_disks.refused("add host vm snapshot g monday")
        assert file.read_bytes() == b"somebody's"


def test_what_killed_snapshots_of_a_disk_left_goes_with_the_next_one(two_disks: MachineSite) -> None:
    machines = two_disks
    left = machines.image(".g.vda.snapshot.sunday.1-of-2.part.unfinished-1-aa")
    others = machines.image(".other.vda.snapshot.sunday.1-of-2.part.unfinished-1-aa")
    for file in (left, others):
        file.touch()
    machines.run("add host vm snapshot g monday")
    assert not left.exists() and others.exists()


@pytest.mark.slow
@pytest.mark.parametrize(("is_running", "dying_host"), [(True, None), (True, OLD), (False, None)])
def test_a_snapshot_that_dies_at_any_effect_is_completed(
    two_disks: MachineSite, is_running: bool, dying_host: str | None
) -> None:
    if is_running:
        two_disks.run("start host vm g")
    for _ in two_disks.deaths("add host vm snapshot g monday", dying_host):
        ended = two_disks.rocks("add host vm snapshot g monday")
        assert ended.status == 0 or "has a snapshot monday already" in ended.err, ended
        assert contents(two_disks, "monday") == [b"first. "] * 2
        assert [name for name in two_disks.files(OLD) if name.endswith(".part")] == []
        two_disks.run("remove host vm snapshot g monday")
        assert two_disks.files(OLD) == list(DISKS)


@pytest.mark.slow
def test_a_restore_that_dies_at_any_effect_is_completed(two_disks: MachineSite) -> None:
    two_disks.run("add host vm snapshot g monday")
    for _ in two_disks.deaths("restore host vm snapshot g monday"):
        two_disks.run("restore host vm snapshot g monday")
        assert contents(two_disks) == [b"first. "] * 2
        write(two_disks, b"changed")
    assert contents(two_disks) == [b"first. "] * 2


def test_an_interrupted_restore_keeps_the_machine_from_starting(two_disks: MachineSite) -> None:
    two_disks.run("add host vm snapshot g monday")
    two_disks.image("g.vda.snapshot.half.1-of-2").write_bytes(b"stale")
    assert "half" not in two_disks.run("list host vm snapshot g")
    marker = two_disks.hosts[OLD].state / "restoring/g"
    marker.parent.mkdir(exist_ok=True)
    marker.touch()
    assert "a restore was interrupted" in two_disks.refused("start host vm g")
    assert "a restore was interrupted" in two_disks.refused("add host vm snapshot g other")
    two_disks.run("restore host vm snapshot g monday")
    two_disks.run("start host vm g")
    assert "cannot name a snapshot" in two_disks.refused("add host vm snapshot g ../a")
    two_disks.run("remove host vm disk g vdb")
    assert "g has a snapshot monday already" in two_disks.refused("add host vm snapshot g monday"), (
        "of former disks"
    )


def iso(mark: bytes) -> bytes:
    """Content that the library accepts as an ISO."""
    return (mark.ljust(SECTOR, b"\0") + bytes(15 * SECTOR) + b"\1CD001").ljust(64 * SECTOR, b"\0")


@pytest.fixture
def library(machines: MachineSite, tmp_path: Path) -> Path:
    """The site's library has the ISO `medium`, which is in the drive of the machine `one`."""
    (tmp_path / "medium.iso").write_bytes(iso(b"first"))
    machines.run(f"set attr image_library {tmp_path}/library")
    machines.run(f"add image medium file={tmp_path}/medium.iso")
    machines.add("one")
    machines.run("set host boot one action=os")
    machines.run("set host vm cdrom one image=medium")
    return tmp_path / "library"


@pytest.mark.slow
def test_the_host_gets_the_iso_and_the_guest_has_it_until_it_is_ejected(
    machines: MachineSite, library: Path
) -> None:
    assert f"the image medium, 0.1 MiB, is copied to {OLD}" in machines.run("start host vm one")
    (copy,) = (machines.hosts[OLD].images / "library").iterdir()
    document = machines.hosts[OLD].domains.document("one")
    assert str(copy) in document.text
    assert [boot.get("dev") for boot in document.root.iterfind("os/boot")] == ["cdrom", "network", "hd"]
    assert copy.read_bytes() == iso(b"first")
    ejected = machines.run("set host vm cdrom one eject")
    assert f"one may be running on {OLD}: its drive changes at its next start" in ejected
    assert str(copy) in machines.hosts[OLD].domains.document("one").text
    machines.run("stop host vm one")
    machines.run("start host vm one")
    assert str(copy) not in machines.hosts[OLD].domains.document("one").text


def test_an_iso_that_is_missing_or_altered_refuses_the_start_and_names_the_remedy(
    machines: MachineSite, library: Path, tmp_path: Path
) -> None:
    (library / "medium.img").write_bytes(iso(b"altered"))
    assert "is the library sound? rocks check image" in machines.refused("start host vm one")
    (library / "medium.img").unlink()
    assert "see rocks check image" in machines.refused("start host vm one")
    (library / "medium.json").unlink()
    error = machines.refused("start host vm one")
    assert "there is no image medium" in error and "rocks set host vm cdrom one eject" in error
    assert machines.running("one") == [] and machines.lease("one")[1:] == ("released", None)
    machines.run(f"add image medium file={tmp_path}/medium.iso")
    machines.run("start host vm one")
    machines.run("stop host vm one")
    (copy,) = (machines.hosts[OLD].images / "library").iterdir()
    copy.write_bytes(iso(b"altered"))
    assert f"rocks remove host image {OLD} {copy}" in machines.refused("start host vm one")
    machines.run(f"remove host image {OLD} {copy}")
    machines.run("start host vm one")
    assert copy.read_bytes() == iso(b"first")


def test_copies_of_isos_that_the_library_has_no_more_go_before_the_next_copy_comes(
    machines: MachineSite, library: Path, tmp_path: Path
) -> None:
    """An owner uploads, inserts and removes one ISO after the other: the host has no more of them than the library."""

    def give(name: str) -> Path:
        (tmp_path / name).write_bytes(iso(name.encode()))
        machines.run(f"add image {name} file={tmp_path / name}")
        machines.run(f"set host vm cdrom one image={name}")
        before = set(folder.iterdir()) if folder.exists() else set()
        printed = machines.run("start host vm one")
        machines.run("stop host vm one")
        (new,) = set(folder.iterdir()) - before
        assert all(f"{gone} is removed from {OLD}" in printed for gone in before - set(folder.iterdir()))
        return new

    folder = machines.hosts[OLD].images / "library"
    first, second = give("alpha"), give("second")
    assert set(folder.iterdir()) == {first, second}, "the library has both"
    foreign = folder / "notes"
    foreign.write_text("not a copy")
    machines.run("remove image alpha")
    machines.add("two")
    machines.run("set host boot two action=os")
    machines.run("set host vm cdrom two image=second")
    machines.run("start host vm two")
    assert first.exists(), "no copy came"
    (tmp_path / "planned").write_bytes(iso(b"planned"))
    machines.run(f"add image planned file={tmp_path / 'planned'}")
    machines.run("set host vm cdrom one image=planned")
    planned = machines.run("start host vm one dry-run=yes")
    assert f"remove the image {first}" in planned and "is removed" not in planned and first.exists()
    machines.run("set host vm cdrom one eject")
    machines.run("remove image planned")
    third = give("third")
    assert set(folder.iterdir()) == {second, third, foreign}
    machines.run("set host vm cdrom two eject")
    machines.run("remove image second")
    fourth = give("fourth")
    assert set(folder.iterdir()) == {second, third, fourth, foreign}, "two runs with the second"
    machines.run("stop host vm two")
    machines.run("remove image third")
    (library / "medium.json").write_text("damaged")
    fifth = give("fifth")
    assert set(folder.iterdir()) == {second, third, fourth, fifth, foreign}, (
        "what the library has is not known"
    )
