"""`rocks move host vm`, `rocks drain host` and `rocks evacuate host`: machines move to other hosts with their disks."""

from pathlib import Path

import pytest

from tests.system.machines.site import NEW, OLD, MachineSite

VM = "mover"


@pytest.fixture
def mover(machines: MachineSite) -> MachineSite:
    """A machine on the first host is off; its disk has content."""
    machines.started(VM)
    machines.run(f"stop host vm {VM}")
    machines.write("mover.vda", b"content")
    return machines


def starts_once(machines: MachineSite, host: str) -> None:
    """The machine starts on that host, and its disk has the content."""
    machines.run(f"start host vm {VM}")
    assert machines.running(VM) == [host] and machines.read("mover.vda", host) == b"content"
    machines.run(f"stop host vm {VM}")


@pytest.mark.slow
def test_a_machine_moves_with_its_disk(mover: MachineSite) -> None:
    assert OLD in mover.run(f"move host vm {VM} {NEW} dry-run=yes")
    assert mover.place(VM) == OLD and mover.files(NEW) == []
    printed = mover.run(f"move host vm {VM} {NEW}")
    assert f"{VM} is on {NEW} now" in printed and f"the old copy of {VM} on {OLD} is removed" in printed
    assert (mover.place(VM), mover.files(OLD), mover.files(NEW)) == (NEW, [], ["mover.vda"])
    assert mover.image("mover.vda", NEW).stat().st_size == 1000**3
    assert mover.image("mover.vda", NEW).stat().st_blocks * 512 < 5_000_000
    assert mover.sql("SELECT COUNT(*) FROM vm_disk_copies") == [(0,)]
    starts_once(mover, NEW)
    assert f"{VM} is on {NEW} already" in mover.refused(f"move host vm {VM} {NEW}")
    mover.run(f"move host vm {VM} {OLD}")
    assert (mover.place(VM), mover.files(OLD), mover.files(NEW)) == (OLD, ["mover.vda"], [])
    starts_once(mover, OLD)
    # the logs of its console, which each host has, go with it
    printed = mover.run(f"remove host vm {VM} dry-run=yes")
    for host in (OLD, NEW):
        assert (
            f"{host}: would remove the logs of the consoles, and variables of UEFI, of 1 machine" in printed
        )


def test_names_that_are_no_move(mover: MachineSite) -> None:
    for line, message in [
        (VM, "must supply a virtual machine and the physical host"),
        (f"{VM} {VM}", "is a virtual machine and cannot run others"),
        (f"{VM} physhost={OLD}", f"{VM} is on {OLD} already"),
        (f"{VM} {VM} {NEW}", "must supply only one VM host"),
        (f"{NEW} {OLD}", "is not a virtual host"),
        (f"{VM} {OLD}", f"{VM} is on {OLD} already"),
        (f"{VM} nowhere", "nowhere"),
    ]:
        assert message in mover.refused(f"move host vm {line}"), line


def test_a_running_machine_is_not_moved(mover: MachineSite) -> None:
    mover.run(f"start host vm {VM}")
    assert f"it may be running on {OLD}; stop it first" in mover.refused(f"move host vm {VM} {NEW}")
    assert mover.running(VM) == [OLD] and mover.files(NEW) == []


def test_somebodys_file_at_the_new_place_stays(mover: MachineSite) -> None:
    mover.image("mover.vda", NEW).write_bytes(b"somebody's")
    assert "that is no copy of a move" in mover.refused(f"move host vm {VM} {NEW}")
    assert mover.image("mover.vda", NEW).read_bytes() == b"somebody's" and mover.place(VM) == OLD
    starts_once(mover, OLD)


def test_a_silent_host_at_either_end(mover: MachineSite) -> None:
    mover.vanish(NEW)
    assert f"{VM} is not moved: " in mover.refused(f"move host vm {VM} {NEW}")
    mover.revive()
    mover.vanish(OLD)
    assert f"{VM} is not moved: " in mover.refused(f"move host vm {VM} {NEW}")
    mover.revive()
    assert mover.sql("SELECT COUNT(*) FROM vm_disk_copies") == [(0,)]
    starts_once(mover, OLD)


def test_a_device_of_the_host_does_not_move(mover: MachineSite) -> None:
    mover.run(f"set host vm {VM} disk=phy:/dev/sdx,vda,virtio")
    assert "is a device of" in mover.refused(f"move host vm {VM} {NEW}")


def test_a_disk_that_was_never_made_is_made_there(machines: MachineSite) -> None:
    machines.add(VM)
    assert "is not on vmc-0-0 yet: it is made at the next start" in machines.run(f"move host vm {VM} {NEW}")
    machines.run(f"start host vm {VM}")
    assert machines.running(VM) == [NEW] and machines.files(NEW) == ["mover.vda"]


def test_the_old_copy_of_a_host_that_is_away_is_removed_later(mover: MachineSite) -> None:
    copy = mover.image("mover.vda", NEW)
    mover.site.change(
        "INSERT INTO vm_disk_copies (Vm_Node, Host, Path) SELECT v.ID, (SELECT ID FROM nodes WHERE Name = %s), %s"
        " FROM vm_nodes v JOIN nodes n ON n.ID = v.Node WHERE n.Name = %s",
        [NEW, str(copy), VM],
    )
    another = f"file:{mover.image('old.vda')},vdb,virtio"
    mover.site.change(
        "INSERT INTO vm_disk_copies (Vm_Node, Host, Path) SELECT v.ID, v.PhysNode, %s"
        " FROM vm_nodes v JOIN nodes n ON n.ID = v.Node WHERE n.Name = %s",
        [str(mover.image("old.vda")), VM],
    )
    assert "is a copy of the disk" in mover.refused(f"add host vm disk {VM} disk={another}")
    there = f"file:{copy},vda,virtio"
    assert "is a copy of the disk" in mover.refused(f"set host vm {VM} physnode={NEW} disk={there}")
    mover.vanish(NEW)
    assert f"the old copy of {VM} on {NEW} stays: " in mover.run(f"move host vm {VM} {OLD}")
    mover.revive()
    assert f"the old copy of {VM} on {NEW} is removed" in mover.run(f"move host vm {VM} {OLD}")
    assert mover.sql("SELECT COUNT(*) FROM vm_disk_copies") == [(0,)]


@pytest.mark.slow
def test_a_disk_with_snapshots_stays(mover: MachineSite) -> None:
    mover.run(f"add host vm snapshot {VM} monday")
    assert "snapshot" in mover.refused(f"move host vm {VM} {NEW}")
    mover.run(f"remove host vm snapshot {VM} monday")
    mover.run(f"move host vm {VM} {NEW}")
    assert mover.place(VM) == NEW


def test_a_host_is_emptied_and_each_machine_has_its_line(machines: MachineSite) -> None:
    runs, is_off = machines.started("runs"), machines.add("isoff")
    assert f"names {OLD} itself" in machines.refused(f"drain host {OLD} to={OLD}")
    assert "must be one of shutdown, poweroff" in machines.refused(f"drain host {OLD} action=reset")
    tried = machines.run(f"drain host {OLD} to={NEW} action=poweroff dry-run=yes")
    assert f"{OLD}: would move {runs} to {NEW}, and start it there" in tried
    assert (machines.running(runs), machines.place(runs)) == ([OLD], OLD)
    machines.image("runs.vda", NEW).write_bytes(b"somebody's")
    ended = machines.rocks(f"drain host {OLD} to={NEW} action=poweroff")
    assert ended.status == 3
    assert f"Error: {runs} is not moved: there is a file" in ended.err
    assert f"it runs again on {OLD}" in ended.err and f"{is_off} is on {NEW} now" in ended.out
    assert (machines.running(runs), machines.place(is_off)) == ([OLD], NEW)
    machines.image("runs.vda", NEW).unlink()
    printed = machines.run(f"drain host {OLD} to={NEW} action=poweroff")
    assert f"{runs} is stopped" in printed and f"{runs} runs again" in printed
    assert (machines.running(runs), machines.place(runs), machines.files(OLD)) == ([NEW], NEW, [])
    assert f"{OLD} has no machines to move" in machines.run(f"drain host {OLD} to={NEW}")
    assert f"{runs} is stopped" in machines.run(f"drain host {NEW} action=poweroff")
    assert machines.running(runs) == [] and machines.place(runs) == NEW


@pytest.fixture
def fenced(machines: MachineSite, tmp_path: Path) -> MachineSite:
    """The first host does not answer; it has a fence command that succeeds, and two machines run there by record."""
    for name in ("local", "other"):
        machines.started(name)
    fence = tmp_path / "fence"
    fence.touch(mode=0o600)
    fence.write_text("/bin/true\n")
    machines.run(f"set host sec_attr {OLD} vm_fence_command file={fence}")
    machines.vanish(OLD)
    return machines


def test_what_has_its_disk_on_a_failed_host_alone_is_not_evacuated(fenced: MachineSite) -> None:
    assert "must supply reason" in fenced.refused(f"evacuate host {OLD}")
    for command in ("evacuate host other reason=x", "drain host other"):
        assert "is a virtual machine; name a physical host" in fenced.refused(command)
    text = fenced.refused(f"evacuate host {OLD} reason=broken to={NEW}")
    assert "local cannot start elsewhere: its disk file:" in text
    assert fenced.lease("local")[1:] == ("running", OLD) and fenced.place("local") == OLD
    fenced.revive()
    assert f"{OLD} answers" in fenced.refused(f"evacuate host {OLD} reason=x to={NEW}")


def test_what_is_stopped_after_it_was_taken_is_not_evacuated(fenced: MachineSite) -> None:
    """A repeated evacuation starts what has a reason; one that an operator has stopped since stays off."""
    reasons = "SELECT Reason FROM vm_leases WHERE Name = 'local'"
    fenced.run("stop host vm local force=yes reason=broken")
    assert fenced.sql(reasons) == [("broken",)]
    fenced.refused("stop host vm local")
    assert fenced.sql(reasons) == [(None,)]
    text = fenced.refused(f"evacuate host {OLD} reason=broken to={NEW}")
    assert "other cannot start elsewhere" in text and "local" not in text
