"""Disks that differ from their records or snapshots, and commands about disks that wait for a guest or a copy."""

import pytest

from rocks.commands._framework.base import Command
from tests.system.machines.site import OLD, MachineSite


@pytest.fixture
def running(machines: MachineSite) -> MachineSite:
    """The machine `g` runs on the first host."""
    machines.started("g")
    return machines


def second(machines: MachineSite) -> str:
    """Another disk of the machine."""
    return f"file:{machines.image('g.vdb')},vdb,virtio"


@pytest.mark.slow
def test_a_disk_with_a_larger_record_than_its_image_has_a_note(running: MachineSite) -> None:
    """And the command of the note grows it."""
    add, grow = f"add host vm disk g disk={second(running)}", "rocks set host vm disk g vdb size=7"
    running.run(f"{add} disksize=3")
    running.run("remove host vm disk g vdb")
    expected = f"{running.image('g.vdb')} of g has 3.0 GB, and its record 7 GB: {grow} grows it"
    assert expected in running.run(f"{add} disksize=7")
    running.run("stop host vm g")
    assert expected in running.run("start host vm g")
    running.run("stop host vm g")
    running.run("remove host vm disk g vdb")
    assert expected in running.run(f"{add} disksize=7")
    running.run(grow.removeprefix("rocks "))
    assert "its record" not in running.run("start host vm g")


def test_a_disk_that_its_file_system_cannot_have_is_warned_of_and_its_remedy_works(
    running: MachineSite,
) -> None:
    running.run("stop host vm g")
    printed = running.run(f"add host vm disk g disk={second(running)} disksize=1000000")
    assert "Warning: g will not start: its disk" in printed
    error = running.refused("start host vm g")
    remedy = error.partition("; ")[2].partition(", or choose")[0].split(", then ")
    assert len(remedy) == 2 and remedy[0] == "rocks remove host vm disk g vdb"
    for line in remedy:
        running.run(line.removeprefix("rocks "))
    running.run("start host vm g")
    assert running.image("g.vdb").exists()


def test_what_waits_for_a_guest_or_a_copy_shows_a_line_until_it_ends(
    running: MachineSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(Command, "showProgress", lambda _, line: lines.append(line))
    running.run("add host vm snapshot g monday")
    assert lines == ["copying the disks of g", ""]
    lines.clear()
    running.run(f"add host vm disk g disk={second(running)} disksize=1")
    running.hosts[OLD].domains.guests_release = False
    running.refused("remove host vm disk g vdb")
    assert lines == ["removing the disk of g, which its guest must release if it runs", ""]


def test_a_snapshot_of_other_disks_names_them_and_the_commands(running: MachineSite) -> None:
    path = running.image("g.vdb")
    running.run(f"add host vm disk g disk={second(running)} disksize=1")
    running.run("stop host vm g")
    running.run("add host vm snapshot g monday")
    running.run("remove host vm disk g vdb")
    error = running.refused("restore host vm snapshot g monday")
    assert f"g has {path} no more: rocks add host vm disk g disk=TYPE:{path},DEVICE,BUS; then" in error
    running.run(f"add host vm disk g disk=file:{path},vdb,virtio disksize=1")
    third = running.image("g.vdc")
    running.run(f"add host vm disk g disk=file:{third},vdc,virtio disksize=1")
    error = running.refused("restore host vm snapshot g monday")
    assert f"it was made without {third}: rocks remove host vm disk g vdc; then" in error
    running.run("remove host vm disk g vdc")
    running.run("restore host vm snapshot g monday")
    running.image("g.vdb.snapshot.monday.2-of-2").unlink()
    assert "monday of g is not complete" in running.refused("restore host vm snapshot g monday")
