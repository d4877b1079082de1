"""A frontend from a medium: its answers are checked as a whole before any disk is opened, and make a plan."""

from pathlib import Path

import pytest

from rocks.core.errors import UserError
from rocks.core.process import run_checked
from rocks.site.questions import read_answers_text
from tests.system.installer.shell import Shell

PRIVATE, PUBLIC = "52:54:00:00:01:00", "52:54:00:00:01:01"
ANSWERS = """\
# of the machine room
Kickstart_PrivateHostname = head
Kickstart_PrivateInterface = eth0
Kickstart_PrivateAddress = 10.1.1.1
Kickstart_PrivateNetmask = 255.255.0.0
Kickstart_PublicInterface=eth1
Kickstart_PublicAddress = 203.0.113.2
Kickstart_PublicNetmask = 255.255.255.128
Kickstart_PublicGateway = 203.0.113.1
Kickstart_PublicDNSServers = 203.0.113.3, 203.0.113.4
Kickstart_PublicDNSDomain =
install_disk = serial=S3Z-1, serial=S3Z-2
install_overwrite = yes
install_root_password_hash = $6$salt$aaaaaaaaaaaa/.
install_timezone = Europe/Berlin
"""


@pytest.fixture
def machine(shell: Shell) -> Shell:
    """A machine with a medium and two adapters."""
    medium = shell.folder / "medium"
    for path, text in {
        "system/root.sha256": f"{'a' * 64}  root.tar.zst\n",
        "system/timezones": "Europe/Berlin\nUTC\n",
        "system/keymaps/us": "",
        "frontend/version": "0.1.1-1\n",
        "rolls/os.iso": "",
        "rolls/mpi (1).iso": "",
    }.items():
        (medium / path).parent.mkdir(parents=True, exist_ok=True)
        (medium / path).write_text(text)
    for number, mac in enumerate((PRIVATE, PUBLIC)):
        place = shell.folder / f"sys/class/net/eth{number}"
        (place / "device").mkdir(parents=True)
        (place / "address").write_text(f"{mac}\n")
        (place / "ifindex").write_text(f"{number + 2}\n")
    return shell


def _script(machine: Shell, text: str) -> str:
    path = machine.folder / "answers"
    path.write_text(text)
    return f"MEDIUM={machine.folder}/medium; list_rolls; read_answers {path}; check_answers; "


def test_good_answers_become_a_plan(machine: Shell) -> None:
    """Also with line ends of another system and a mark at the beginning; the gateway is on the public network."""
    text = "\ufeff" + ANSWERS.replace("\n", "\r\n")
    plan = machine.text(_script(machine, text) + 'write_plan; sed "/^installation/d" "$WORK/plan"')
    assert plan.splitlines() == [
        "rocks-install-plan 1",
        "host head",
        "domain local",
        f"interface eth0 {PRIVATE} 10.1.1.1/16 1500",
        f"interface eth1 {PUBLIC} 203.0.113.2/25 1500",
        "gateway 203.0.113.1",
        "nameserver 203.0.113.3",
        "nameserver 203.0.113.4",
        "disk serial S3Z-1",
        "disk serial S3Z-2",
        "overwrite yes",
        "partition root 19073 ext4 /",
        "partition swap 3814 swap -",
        "partition export rest ext4 /export",
        "archive medium:system/root.tar.zst",
        f"archive-sha256 {'a' * 64}",
        "end",
    ]
    (machine.folder / "target/etc").mkdir()
    machine.text(_script(machine, ANSWERS) + "write_plan; write_names; write_network")
    etc = machine.folder / "target/etc"
    assert (etc / "hosts").read_text() == "127.0.0.1 localhost\n10.1.1.1 head.local head\n"
    assert "Gateway" not in (etc / "systemd/network/10-eth0.network").read_text()
    assert "Gateway=203.0.113.1\n" in (etc / "systemd/network/10-eth1.network").read_text()


def test_the_same_answers_are_the_same_installation_and_an_adapter_can_be_named(machine: Shell) -> None:
    number = 'write_plan; grep -e ^installation -e ^interface "$WORK/plan"'
    first = machine.text(_script(machine, ANSWERS) + number)
    assert machine.text(_script(machine, ANSWERS + "# a remark\n") + number) == first
    swapped = machine.text(_script(machine, f"{ANSWERS}install_private_mac = {PUBLIC}\n") + number)
    assert swapped.splitlines()[0] != first.splitlines()[0]
    assert f"interface eth0 {PUBLIC} 10.1.1.1/16" in swapped
    assert f"interface eth1 {PRIVATE} 203.0.113.2/25" in swapped


def test_all_errors_are_listed_at_once(machine: Shell) -> None:
    text = ANSWERS.replace("255.255.0.0", "255.0.255.0").replace("113.1\n", "113.129\n")
    text = text.replace("= head", "= -head").replace("serial=S3Z-1", "sda").replace("Europe/", "Mars/")
    text = text.replace("password_hash = $6$salt$", "password = short #")[: -len("aaaaaaaaaaaa/.\n")]
    text += "\nthis is no answer\ninstall_overwrit = yes\nKickstart_PrivateInterface = eth1\n"
    listed = machine.error(_script(machine, text))
    for problem in (
        "the answers are not right, and nothing was changed:",
        "line 2: Kickstart_PrivateHostname cannot be -head",
        "Kickstart_PrivateNetmask 255.0.255.0 is no netmask",
        "install_disk cannot be sda",
        "is not NAME = VALUE: this is no answer",
        "install_overwrit is no answer",
        "Kickstart_PrivateInterface stands there again",
        "install_disk is missing",
    ):
        assert problem in listed, listed
    assert "short" not in listed, "no password is shown"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("203.0.113.1\n", "203.0.113.129\n", "Kickstart_PublicGateway 203.0.113.129 is outside of"),
        ("203.0.113.2\n", "203.0.113.127\n", "is not an address of a host in"),
        ("10.1.1.1", "10.1.0.0", "is not an address of a host in"),
        ("10.1.1.1", "10.1.1.256", "cannot be 10.1.1.256"),
        ("10.1.1.1", "203.0.113.5", "overlap"),
        ("113.3, 203", "113.3, 127.0.0.1, 203", "127.0.0.1 is not the address of a machine"),
        ("=eth1", "=eth0", "both networks have the device eth0"),
        ("Kickstart_PublicNetmask = 255.255.255.128\n", "", "Kickstart_PublicNetmask is missing"),
        ("Kickstart_PrivateHostname = head\n", "", "Kickstart_PrivateHostname is missing"),
    ],
)
def test_the_rules_of_the_site_are_those_of_create_site(
    machine: Shell, old: str, new: str, problem: str
) -> None:
    """What the installer refuses, the command refuses as well; both take the answers as they are otherwise."""
    text = ANSWERS.replace(old, new)
    assert problem in machine.error(_script(machine, text))
    with pytest.raises(UserError):
        read_answers_text(text)
    read_answers_text(ANSWERS)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("install_root_password_hash", "# install_root_password_hash", "nobody could log in"),
        ("= head", "= nas", "Kickstart_PrivateHostname nas has another meaning"),
        ("= head", "= rack0", "Kickstart_PrivateHostname rack0 has another meaning"),
        ("Europe/Berlin", "Europe/Bonn", "there is no time zone Europe/Bonn"),
        ("install_overwrite = yes", "install_keyboard = dee", "there is no keyboard map dee"),
        ("install_overwrite = yes", "install_keep = export", "partitions of a mirror are made anew"),
        ("install_overwrite = yes", "install_keep = root", "the partition root has the system"),
        ("install_overwrite = yes", "install_keep = home", "has no partition home with ext4"),
        ("install_overwrite = yes", "install_partitions = a:1:swap", "no partition for /"),
        ("install_overwrite = yes", "install_public_mac = 52:54:00:00:01:09", "no adapter has 52:54"),
        (
            "install_overwrite = yes",
            f"install_private_mac = {PUBLIC}\ninstall_public_mac = {PUBLIC}",
            "both networks have the adapter",
        ),
        ("install_overwrite = yes", "install_rolls = mpi os", "install_rolls: no medium has mpi"),
        (
            "install_overwrite = yes",
            "install_partitions = boot:1:ext4:/boot root:rest:ext4:/",
            "/boot must be on the partition of /",
        ),
    ],
)
def test_what_the_machine_has_not(machine: Shell, old: str, new: str, problem: str) -> None:
    assert problem in machine.error(_script(machine, ANSWERS.replace(old, new)))


def test_arguments_of_the_kernel_take_the_place_of_lines(machine: Shell) -> None:
    (machine.folder / "line").write_text(
        "rocks.medium=install install_disk=smallest Kickstart_PrivateAddress=10.1.1.9 quiet\n"
    )
    place = machine.folder / "work/site"
    place.mkdir()
    for text in (ANSWERS, ""):
        (place / "answers").write_text(text)
        machine.text(f"CMDLINE={machine.folder}/line; add_arguments; medium_argument medium")
        changed = (place / "answers").read_text()
        assert changed.endswith("install_disk = smallest\nKickstart_PrivateAddress = 10.1.1.9\n")
        assert changed.count("install_disk") == changed.count("PrivateAddress") == 1
    (machine.folder / "line").write_text("rocks.medium=check quiet\n")
    assert machine.text(f"CMDLINE={machine.folder}/line; add_arguments; medium_argument medium") == "check\n"


def test_a_last_line_may_have_no_end(machine: Shell) -> None:
    """As some editors leave it; nor does a line of the kernel's arguments continue it."""
    given, site = machine.folder / "medium/site", machine.folder / "work/site"
    given.mkdir()
    (given / "answers").write_text(f"{ANSWERS}install_keep = export")
    (machine.folder / "line").write_text("install_disk=smallest\n")
    script = (
        f"MEDIUM={machine.folder}/medium; CMDLINE={machine.folder}/line; GIVEN={site}; sleep() {{ :; }}; "
    )
    script += (
        f'find_site >/dev/null; read_answers {site}/answers; grep -E "^install_(keep|disk) " "$WORK/answers"'
    )
    assert machine.text(script) == "install_keep = export\ninstall_disk = smallest\n"


def test_a_roll_may_have_blanks_in_its_name(machine: Shell) -> None:
    store = machine.folder / "store"
    (store / "rolls").mkdir(parents=True)
    (machine.folder / "medium/rolls/mpi (1).iso").write_text("a roll")
    machine.text(_script(machine, ANSWERS) + f"STORE={store}; stage() {{ :; }}; copy_rolls")
    assert (store / "rolls/mpi (1).iso").read_text() == "a roll"
    assert (store / "rolls/os.iso").exists()


def test_a_partition_of_install_keep_stays_as_it_is(machine: Shell) -> None:
    """Only where it has a file system, and only on a disk with the plan's partitions."""
    machine.add_disk("vda", 12000)
    answers = ANSWERS.replace("serial=S3Z-1, serial=S3Z-2", "smallest").replace(
        "install_overwrite = yes", "install_keep = export"
    )
    answers += "install_partitions = root:4:ext4:/ export:rest:ext4:/export\n"
    begin = _script(machine, answers) + 'write_plan; choose_disks "$(needed_mib)"; '
    refused = machine.error(begin + "check_kept_partitions")
    assert "the disk vda has not the partitions of install_partitions: nothing was changed" in refused
    machine.text(begin + "write_table vda; check_kept_partitions")
    device = machine.folder / "partition"
    with device.open("wb") as file:
        file.truncate(64 << 20)
    made = f"make_one ext4 export {device}; run_blkid --probe --output value --match-tag UUID {device}"
    first = machine.text(f"KEEP=export; {made}")
    assert machine.text(f"KEEP=export; {made}") == first
    assert machine.text(f"KEEP=root; {made}") != first
    run_checked(["/usr/sbin/mkswap", "-f", str(device)], deadline_seconds=30)
    before = device.read_bytes()
    machine.error(f"KEEP=export; {made}")
    assert "has no ext4 but swap, and cannot be kept" in (machine.folder / "work/failure").read_text()
    assert device.read_bytes() == before


def test_media_are_found_by_their_label(machine: Shell) -> None:
    """A stick with a hybrid ISO has its label twice; two media with it are one too many."""
    tags = 'block_devices() { printf "%s\\n" vda sda sda1 sr0; }; disk_of() { echo "${1%1}"; }; tag_of() { '
    script = tags + 'case "$1 $LABELS" in *" "*"$1="*) echo X ;; esac; }; labelled X'
    assert machine.text(f"LABELS='sda= sda1='; {script}") == "sda\n"
    assert machine.text(f"LABELS='none='; {script}") == ""
    assert "several media with the label X: sda sr0" in machine.error(f"LABELS='sda= sr0='; {script}")


def test_only_the_iso_of_a_stick_is_copied(machine: Shell) -> None:
    stick = Path(machine.folder / "stick")
    content = bytearray(2048 * 40)
    content[32768 + 80 : 32768 + 84] = (20).to_bytes(4, "little")
    stick.write_bytes(content)
    assert machine.text(f"read_iso {stick} | wc -c").strip() == str(20 * 2048)
