"""The instruments on which storage tests rest are tested themselves: silent when all is well, and only then."""

import json
from pathlib import Path

import pytest

import lab.instruments
from lab.machines.frontend import put_counting_guest
from lab.machines.lab import Lab
from lab.machines.machine import LabMachine
from tests.lab.cut_over import run_cut_over

SUBJECTS = ("lab/instruments",)

_DISK = "/var/lib/counting.img"
_SERIAL = "/var/log/counting.serial"
_QEMU = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-machine", "pc,accel=kvm:tcg", "-m", "16"]


@pytest.fixture
def host(lab: Lab) -> LabMachine:
    """A host with the instruments on it."""
    machine = lab["vmh1"]
    folder = Path(lab_folder())
    machine.copy_in(lab.model_writer, "/root/model_writer", "755")
    machine.copy_in(folder / "verifier.py", "/root/verifier.py")
    put_counting_guest(machine, lab.counting_guest, _DISK)
    return machine


def lab_folder() -> str:
    """Where the instruments' sources are."""
    return str(Path(lab.instruments.__file__).parent)


def test_model_writer_passes_a_right_cut_over(host: LabMachine) -> None:
    """Origin moved first, merge over the same exceptions: every read is as written, on the device and on the copy."""
    reported = run_cut_over(host, in_right_order=True)
    assert reported["result"]["mismatches"] == 0, reported
    assert reported["result"]["errors"] == 0, reported
    assert reported["result"]["writes"] > 100, reported
    assert 0 < reported["result"]["longest_write"] < 60, reported
    for device in ("/dev/mapper/disk", "/dev/zvol/vmpool/local"):
        assert reported["final" + device]["mismatches"] == 0, reported


def test_model_writer_fails_a_cut_over_in_the_wrong_order(host: LabMachine) -> None:
    """The merge loaded before the writer was stopped loses blocks, and no kernel says so: the writer does."""
    reported = run_cut_over(host, in_right_order=False)
    assert reported["final/dev/mapper/disk"]["mismatches"] > 0, reported
    assert reported["final/dev/zvol/vmpool/local"]["mismatches"] > 0, reported


def test_reading_guest_reads_before_it_is_ready(host: LabMachine, lab: Lab) -> None:
    """As many pieces as it says, and a beat for each one after that."""
    disk, serial = "/var/lib/reading.img", "/var/log/reading.serial"
    host.copy_in(lab.reading_guest, disk, "600")
    host.run(["truncate", "--size=64M", disk])
    drive = ["-drive", f"file={disk},format=raw,if=virtio,cache=none", "-serial", f"file:{serial}"]
    host.start_program("reading", [*_QEMU, *drive])
    reported = host.wait_for(["cat", serial], "beat 00000404", 120).split()
    host.run(["systemctl", "kill", "--signal=KILL", "reading"])
    assert reported[:4] == ["ready", "00000400", "beat", "00000401"]
    assert "error" not in reported


def test_counting_guest_and_verifier(host: LabMachine) -> None:
    """The guest counts within seconds; its disk is found whole, and a single changed byte in it is found too."""
    disk = ["-drive", f"file={_DISK},format=raw,if=virtio,cache=directsync", "-serial", f"file:{_SERIAL}"]
    host.start_program("counting", [*_QEMU, *disk])
    host.wait_for(["cat", _SERIAL], "count 00000050", 90)
    host.run(["systemctl", "kill", "--signal=KILL", "counting"])
    serial = host.read_file(_SERIAL).decode()
    last = int(serial.split("count ")[-1][:8], 16)
    assert serial.startswith("start 00000000")
    assert "lost" not in serial
    assert "error" not in serial
    good = host.run_any(["python3", "/root/verifier.py", _DISK, f"at-least={last}"])
    assert good.exit_status == 0, good.text
    assert json.loads(good.text)["count"] >= last
    host.shell(
        f"printf x | dd of={_DISK} bs=1 seek=$((4096 * 512 + 8 * 512 * 70 + 99)) conv=notrunc status=none"
    )
    bad = host.run_any(["python3", "/root/verifier.py", _DISK])
    assert bad.exit_status == 1
    assert json.loads(bad.text)["wrong_slots"] == [70]
