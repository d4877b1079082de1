"""A blank machine becomes a frontend from its medium: BIOS, UEFI with Secure Boot, attended; with power cuts."""

from pathlib import Path

import pytest

from rocks.core.process import run_checked
from rocks.install.rolls.iso import create_roll
from tests.installer.blank_machine import DIST, make_disk
from tests.installer.medium_machine import PRIVATE, PUBLIC, MediumMachine, make_stick
from tests.rolls import write_frontend_roll

ISOS = list(DIST.glob("rocks-frontend-*.iso"))

pytestmark = [
    pytest.mark.installer,
    pytest.mark.skipif(
        len(ISOS) != 1, reason="dist/ has not exactly one frontend's ISO; run make frontend-iso"
    ),
]

PASSWORD = "a password of the test"  # noqa: S105 - of a machine that ends with the test
ANSWERS = f"""\
Kickstart_PrivateHostname = head
Kickstart_PrivateInterface = eth0
Kickstart_PrivateAddress = 10.1.1.1
Kickstart_PrivateNetmask = 255.255.0.0
Kickstart_PublicInterface = eth1
Kickstart_PublicAddress = 203.0.113.2
Kickstart_PublicNetmask = 255.255.255.0
Kickstart_PublicGateway = 203.0.113.1
install_private_mac = {PRIVATE}
install_public_mac = {PUBLIC}
install_disk = smallest
install_partitions = root:6:ext4:/ export:rest:ext4:/export
install_root_password = {PASSWORD}
install_timezone = Europe/Berlin
"""
_GIGABYTES = 10


def _stick(folder: Path, answers: str) -> Path:
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site/answers").write_text(answers.replace("\n", "\r\n"))
    (folder / "site/attributes").write_text("probe_message = from the stick\n")
    return make_stick(folder / "site.img", folder / "site")


def _log_in(machine: MediumMachine) -> None:
    machine.wait_for("head login: ")
    machine.type("root\r")
    machine.answer("Password: ", PASSWORD)
    machine.wait_for(r"root@head:~# ")


def _asked(machine: MediumMachine, command: str) -> str:
    """What a command prints at the console."""
    machine.type(f"clear; {command}; echo en''ded\r")
    return machine.wait_for(r"(?s)echo en''ded.*?\nended", 600)


def test_answers_and_a_roll_on_other_media_and_power_cuts(tmp_path: Path) -> None:
    """BIOS, unattended, from a drive: cut while unpacking and in the first boot, at last a frontend."""
    roll = create_roll(write_frontend_roll(tmp_path / "roll", "probe"), tmp_path)
    machine = MediumMachine(tmp_path, "bios", [make_disk(tmp_path, "bios", _GIGABYTES)])
    media = {"drives": [ISOS[0], roll], "sticks": [_stick(tmp_path, ANSWERS)]}
    try:
        machine.start(**media)
        machine.choose("s")
        machine.wait_for(r"answers: from sda")
        machine.wait_for(r"rolls: .*probe\S*\.iso")
        machine.wait_for(r"unpacking [1-9]\d* MB")
        machine.cut_power()
        machine.start(**media)
        machine.choose("s")
        machine.wait_for(r"installed; the machine starts again")
        machine.wait_until_off()

        machine.start(**media)
        machine.wait_for("Start the frontend that is on the disk")
        machine.choose("s")
        machine.wait_for(r"is installed already on vda")
        machine.wait_for("a shell follows")
        machine.cut_power()

        machine.start(**media)  # the medium stays in its drive: the menu's first choice is the disk
        machine.wait_for(r"installing the packages")
        machine.cut_power()
        machine.start()
        machine.wait_for(r"this machine is a frontend", 7200)
        machine.type("\r")  # the lines of the first boot are behind the prompt
        _log_in(machine)
        printed = _asked(
            machine,
            "systemctl is-active probe.service rabbitmq-server rocks-nucleus; cat /etc/probe.conf;"
            "cat /usr/share/probe/tool; ip -br -4 addr; date +%Z; cat /etc/hosts; systemctl --failed --no-legend",
        )
        assert printed.count("active\r\n") == 3 and "inactive" not in printed, printed
        for text in ("message = from the stick", "\ntool", "10.1.1.1/16", "203.0.113.2/24", "CE"):
            assert text in printed, printed
        assert "failed" not in printed, printed
    finally:
        machine.cut_power()


def test_uefi_with_secure_boot(tmp_path: Path) -> None:
    """From the medium and from the disk alone; then once more, with the partition export kept."""
    machine = MediumMachine(tmp_path, "secure", [make_disk(tmp_path, "secure", _GIGABYTES)], "secure")
    try:
        machine.start([ISOS[0]], [_stick(tmp_path, ANSWERS)])
        machine.choose("s")
        machine.wait_for(r"installed; the machine starts again")
        machine.wait_until_off()
        machine.start()
        machine.wait_for("Secure boot enabled")
        _log_in(machine)
        assert "medium" in _asked(
            machine, "systemctl stop rocks-frontend-install; touch /export/kept; sync; ls /export/rocks"
        )
        machine.cut_power()

        again = _stick(tmp_path, f"{ANSWERS}install_overwrite = yes\ninstall_keep = export\n")
        machine.start([ISOS[0]], [again])
        machine.choose("s")
        machine.wait_for("the partition export stays as it is")
        machine.wait_for(r"installed; the machine starts again")
        machine.wait_until_off()
        machine.start()
        _log_in(machine)
        assert "/export/kept" in _asked(machine, "ls /export/*")
    finally:
        machine.cut_power()


def test_attended_from_a_stick(tmp_path: Path) -> None:
    """To the summary; a wrong value is asked for again; a disk with data stays as it is unless its name is typed."""
    disk = make_disk(tmp_path, "data", _GIGABYTES)
    raw = tmp_path / "data.raw"
    with raw.open("wb") as file:
        file.truncate(_GIGABYTES << 30)
    run_checked(["mke2fs", "-q", "-F", "-t", "ext4", "-L", "precious", str(raw)], deadline_seconds=60)
    run_checked(["qemu-img", "convert", "-O", "qcow2", str(raw), str(disk)], deadline_seconds=60)
    machine = MediumMachine(tmp_path, "attended", [disk])
    try:
        for typed in ("yes", "vda"):
            machine.start(sticks=[ISOS[0]])
            machine.choose("s")
            machine.answer(r"Keyboard map \[us\]: ")
            machine.wait_for(r"1\) vda  10 GB    serial DISK0  has data: disk ext4")
            machine.answer(r"Install on disk number \[1\]: ")
            machine.answer(r"type its name, vda; [^:]*: ", typed)
            if typed == "yes":
                machine.wait_for("the disk vda has data and stays as it is")
                machine.cut_power()
        machine.answer(r"Partitions \[root:rest:ext4:/\]: ")
        machine.answer(r"Name of the frontend \[head\]: ", "-head")
        machine.wait_for("this cannot be the answer here")
        machine.answer(r"Name of the frontend \[head\]: ")
        machine.answer(r"network private \[1\]: ")
        machine.answer(r"private \[10.1.1.1\]: ")
        machine.answer(r"netmask \[255.255.0.0\]: ")
        machine.answer(r"\(0: none\) \[2\]: ", "0")
        machine.answer(r"Time zone \[UTC\]: ", "Europe/Berlin")
        machine.answer(r"Time server \(empty: none\): ", "10.1.1.2")
        machine.answer("Password of root: ", PASSWORD)
        machine.answer("Again: ", PASSWORD)
        machine.answer(r"SSH key[^:]*: none\): ")
        machine.answer(r"Which of them[^:]*: ", "none")
        machine.answer(r"shall this frontend answer there \[no\]: ")
        machine.wait_for("install_disk = serial=DISK0")
        machine.answer(r"Install \(yes or no\): ", "no")
        machine.wait_for("nothing was changed")
        assert PASSWORD not in machine.console
    finally:
        machine.cut_power()
    same = run_checked(
        ["qemu-img", "compare", "-f", "raw", "-F", "qcow2", str(raw), str(disk)], deadline_seconds=120
    )
    assert "identical" in same.text


def test_wrong_answers_and_the_check_of_the_medium(tmp_path: Path) -> None:
    """All errors are on the console, and nothing is changed; the check of the medium finds it whole."""
    machine = MediumMachine(tmp_path, "wrong", [make_disk(tmp_path, "wrong", _GIGABYTES)])
    wrong = ANSWERS.replace("203.0.113.1\n", "203.0.114.1\n").replace("smallest", "sda")
    try:
        machine.start([ISOS[0]], [_stick(tmp_path, wrong)])
        machine.choose("s")
        machine.wait_for("the answers are not right, and nothing was changed")
        machine.wait_for("install_disk cannot be sda")
        machine.wait_for("Kickstart_PublicGateway 203.0.114.1 is outside of 203.0.113.2/24")
        machine.cut_power()
        machine.start([ISOS[0]])
        machine.choose("k")
        machine.wait_for("the medium is whole")
    finally:
        machine.cut_power()
