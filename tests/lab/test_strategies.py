"""The strategies work in any order, and their effects are undone for the next test."""

import time

import pytest

from lab.machines.lab import Lab
from lab.machines.power import State
from rocks.core.errors import HostError

SUBJECTS = ("lab/machines/machine.py", "lab/machines/power.py")


def test_killed_machine_keeps_what_was_on_its_disks_and_is_clean_afterwards(lab: Lab) -> None:
    """Power lost and back: files that were synced, the pool and its data are there; the clean state has none of it."""
    machine = lab["vmh2"]
    machine.write_file("/root/kept", b"before the crash")
    machine.run(["zfs", "create", "vmpool/kept"])
    machine.run(["zpool", "sync"])
    machine.run(["sync"])
    machine.kill()
    assert machine.state() is State.OFF
    machine.boot()
    assert machine.read_file("/root/kept") == b"before the crash"
    assert "vmpool/kept" in machine.run(["zfs", "list", "-H", "-o", "name"]).text.split()
    assert "/dev/vda" not in machine.serial_log().partition("EXT4-fs error")[2]
    machine.kill()
    lab.return_to_clean_state()
    assert machine.state() is State.RUNNING
    assert machine.run_any(["test", "-e", "/root/kept"]).exit_status == 1
    assert machine.run(["zfs", "list", "-H", "-o", "name"]).text.split() == ["vmpool"]


def test_frozen_machine_is_silent_and_goes_on_where_it_was(lab: Lab) -> None:
    """Its clock stands still meanwhile, as do its programs; thawed it answers, under the same boot."""
    machine = lab["vmh1"]
    boot = machine.boot_id()
    machine.freeze()
    assert machine.state() is State.FROZEN
    with pytest.raises(HostError, match="vmh1 did not finish"):
        machine.run(["true"], 3)
    machine.thaw()
    assert machine.boot_id() == boot


def test_cut_machine_is_unreachable_and_runs_on(lab: Lab) -> None:
    """Only waiting clients notice a cut; programs of the machine continue meanwhile."""
    machine, other = lab["nas"], lab["vmh1"]
    machine.start_program("ticking", ["sh", "-c", "while sleep 1; do date +%s >>/root/ticks; done"])
    ping = ["ping", "-c", "1", "-W", "2", machine.description.address]
    assert other.run_any(ping).exit_status == 0
    before_cut = int(machine.run(["date", "+%s"]).text)
    machine.cut()
    assert other.run_any(ping).exit_status != 0
    time.sleep(8)
    machine.reconnect()
    assert other.run_any([*ping[:2], "4", *ping[3:]]).exit_status == 0
    machine.set_link_up(False)
    assert other.run_any(ping).exit_status != 0
    machine.set_link_up(True)
    assert other.run_any([*ping[:2], "4", *ping[3:]]).exit_status == 0
    assert "carrier" in machine.run(["journalctl", "--no-pager", "-b", "-u", "systemd-networkd"]).text.lower()
    ticks = [int(word) for word in machine.read_file("/root/ticks").split()]
    assert [tick for tick in ticks if before_cut + 2 <= tick <= before_cut + 9], (before_cut, ticks)


def test_delay_and_loss(lab: Lab) -> None:
    """Delay is seen in the round trip and loss in the number of answers; both are gone in the clean state."""
    machine, other = lab["vmh1"], lab["nas"]
    ping = ["ping", "-q", "-c", "40", "-i", "0.05", machine.description.address]

    def fastest_milliseconds() -> float:
        return float(other.run(ping).text.rpartition(" = ")[2].split("/")[0])

    def answers() -> int:
        return int(other.run(ping).text.partition(" received")[0].split()[-1])

    before = fastest_milliseconds()
    machine.impair(delay_milliseconds=100)
    assert 100 <= fastest_milliseconds() < before + 400
    machine.impair(loss_percent=30)
    assert 5 < answers() < 40
    lab.return_to_clean_state()
    assert fastest_milliseconds() < 100
    assert answers() == 40


def test_full_disk_and_reboot(lab: Lab) -> None:
    """A filled disk refuses the next byte; a reboot is another boot of the same disk."""
    machine = lab["nas"]
    boot = machine.boot_id()
    filler = machine.fill("/root")
    refused = machine.run_any(["dd", "if=/dev/zero", "of=/root/more", "bs=1M", "count=4", "conv=fsync"])
    assert refused.exit_status != 0
    assert "No space left" in refused.error_text
    machine.run(["rm", filler, "/root/more"])
    machine.reboot()
    assert machine.boot_id() != boot
    assert "tank" in machine.run(["zpool", "list", "-H", "-o", "name"]).text
