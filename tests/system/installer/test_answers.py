"""A frontend from a medium: its answers are checked as a whole before any disk is opened, and make a plan."""

from pathlib import Path

import pytest

from rocks.core.errors import UserError
from rocks.core.process import run_checked
from rocks.site.questions import (
    MACHINE_ANSWERS,
    QUESTIONS,
    installation_problems,
    read_answers_text,
)
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
        _add_adapter(shell, f"eth{number}", mac, number + 2)
    return shell


def _add_adapter(
    machine: Shell, device: str, mac: str, number: int, *, link: bool = True, bus: str = "virtio"
) -> None:
    place = machine.folder / "sys/class/net" / device
    (place / "device").mkdir(parents=True)
    for name, text in {"address": mac, "ifindex": number, "carrier": int(link), "type": 1}.items():
        (place / name).write_text(f"{text}\n")
    (place / "device/driver").symlink_to("../drivers/cdc_ether" if bus == "usb" else "../drivers/e1000e")
    (place / "device/subsystem").symlink_to(f"../../bus/{bus}")


def _script(machine: Shell, text: str) -> str:
    path = machine.folder / "answers"
    path.write_text(text)
    return f"MEDIUM={machine.folder}/medium; list_rolls; read_answers {path}; check_answers; "


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("install_root_password_hash", "# install_root_password_hash", "nobody could log in"),
        ("= head", "= nas", "Kickstart_PrivateHostname nas has another meaning"),
        ("= head", "= rack0", "Kickstart_PrivateHostname rack0 has another meaning"),
        ("= head", "= Localhost", "Kickstart_PrivateHostname Localhost has another meaning"),
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


@pytest.mark.slow
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


_VLANS = """\
[Match]
Name={name}

[Network]
{settings}LinkLocalAddressing=no
"""


@pytest.mark.slow
def test_what_a_site_may_have_is_installed(machine: Shell) -> None:
    """Capitals and underscores in names, more name servers than a system uses, and both networks on one adapter."""
    changes = {
        "= head": "= Head_1",
        "=eth1": "=eth0.100",
        "113.3,": "113.3, 192.0.2.7, 192.0.2.8 ,",
        "DNSDomain =": "DNSDomain = _a.Example.org",
    }
    text = ANSWERS
    for old, new in changes.items():
        text = text.replace(old, new)
    read_answers_text(text)
    (machine.folder / "target/etc").mkdir()
    machine.text(_script(machine, text) + "write_plan; write_names; write_network")
    plan = (machine.folder / "work/plan").read_text()
    assert f"interface eth0.100 {PRIVATE} 203.0.113.2/25 1500" in plan and plan.count("nameserver") == 3
    etc = machine.folder / "target/etc"
    assert (etc / "hostname").read_text() == "Head_1\n"
    network = etc / "systemd/network"
    first = (network / "10-eth0.network").read_text()
    assert "Address=10.1.1.1/16\n" in first and first.endswith("VLAN=eth0.100\n")
    assert "Name=eth0.100\nKind=vlan\n\n[VLAN]\nId=100\n" in (network / "10-eth0.100.netdev").read_text()
    assert "Address=203.0.113.2/25\n" in (network / "10-eth0.100.network").read_text()
    assert {path.name for path in network.iterdir()} == {
        *("10-eth0.link", "10-eth0.network", "10-eth0.100.netdev", "10-eth0.100.network")
    }

    alone = (
        text.replace("PrivateInterface = eth0", "PrivateInterface = eth1.7")
        + f"install_public_mac = {PUBLIC}\n"
    )
    machine.text(_script(machine, alone) + f"rm {network}/*; write_plan; write_network")
    assert f"PermanentMACAddress={PRIVATE}\n" in (network / "10-eth1.link").read_text()
    bare = (network / "10-eth1.network").read_text()
    assert "Address" not in bare.replace("Addressing", "") and bare.endswith("VLAN=eth1.7\n")
    assert f"PermanentMACAddress={PUBLIC}\n" in (network / "10-eth0.link").read_text()
    two = f"{text}install_private_mac = {PRIVATE}\ninstall_public_mac = {PUBLIC}\n"
    assert "eth0 and eth0.100 are on one adapter, and" in machine.error(_script(machine, two))


_KEY = "AAAAC3NzaC1lZDI1NTE5AAAA/+="
_VALUES = {
    "Kickstart_PrivateHostname": (
        "head",
        "Head",
        "a_b-1",
        "head.x",
        "-a",
        "rack7x",
        "Localhost",
        "0xAb",
    ),
    "Kickstart_PrivateInterface": (
        "lo",
        "eth0",
        "br-int",
        "eth0_1",
        "enp129s0f0.4094",
        "eth0.0",
        "eth0.4095",
        "eth0:1",
    )
    + ("ib0.8001", "0eth", "a.b.1", "abcdefghijklmnop"),
    "Kickstart_PrivateAddress": (
        "10.1.1.1",
        "0.1.2.3",
        "0.0.0.0",
        "127.0.0.1",
        "224.1.1.1",
        "010.1.1.1",
        "x",
    ),
    "Kickstart_PrivateDNSDomain": ("local", "a.b", "_a.b-c", "a..b", ".a", "a.", "a b"),
    "Kickstart_PublicDNSServers": (
        "192.0.2.1",
        "192.0.2.1 ,192.0.2.2,192.0.2.3,192.0.2.4",
        "192.0.2.1 192.0.2.2",
        "x",
    ),
    "install_disk": (
        "smallest",
        "smallest , smallest",
        "serial=A",
        "path=/dev/sda",
        "sda",
        "serial=",
        "a,b,c",
    ),
    "install_partitions": ("root:rest:ext4:/", "root:4:ext4:/ a:rest:none", "Root:4:ext4:/", "root:4:ext4"),
    "install_kernel_arguments": ("quiet", "console=ttyS0,115200 a=b", "a;b"),
    "install_overwrite": ("yes", "no", "true"),
    "install_keep": ("export", "export  home", "Export", "a,b"),
    "install_private_mac": ("52:54:00:00:01:00", "52:54:00:00:01:0G", "52-54-00-00-01-00"),
    "install_public_mac": ("52:54:00:00:01:01", "52:54:00:00:01"),
    "install_rolls": ("all", "none", "os-12 mpi", "a;b"),
    "install_restore": ("site.saved", ".hidden", "a/b"),
    "install_keyboard": ("us", "de", "US", "d"),
    "install_root_password": ("12345678", "1234567"),
    "install_root_password_hash": ("$y$j9T$abc./$def", "abc"),
    "install_timezone": ("UTC", "Etc/GMT+1", "a b"),
    "install_root_key": (
        f"ssh-ed25519 {_KEY}",
        f"ssh-ed25519 {_KEY} of Mary (laptop)",
        f"ecdsa-sha2-nistp256 {_KEY} a@b",
        f"sk-ssh-ed25519@openssh.com {_KEY} a@b",
        f"sk-ecdsa-sha2-nistp256@openssh.com {_KEY}",
        f'from="10.0.0.0/8,!10.1.1.1",no-pty,restrict ssh-rsa {_KEY} a',
        f'environment="A=\\"x\\"" ssh-rsa {_KEY} a',
        f'command="id" ssh-rsa {_KEY}',
        f'form="10.0.0.0/8" ssh-rsa {_KEY}',
        f"from=10.0.0.0/8 ssh-rsa {_KEY}",
        f"pgp-key {_KEY}",
        "ssh-rsa",
        f"ssh-ed25519 {_KEY} K\u00f6nig",
    ),
}


def test_the_installer_takes_what_the_frontend_writes(machine: Shell) -> None:
    """`rocks save site` refuses what the installer would refuse; of the installer's own answers both take the same."""
    assert _VALUES.keys() >= MACHINE_ANSWERS.keys()
    tried = [(name, value) for name, values in _VALUES.items() for value in values]
    (machine.folder / "tried").write_text("".join(f"{name} = {value}\n" for name, value in tried))
    script = (
        'while IFS= read -r line; do name=${line%% = *}; value=${line#* = }; : >"$WORK/problems"; '
        f'printf "%s\\n" "$line" >{machine.folder}/one; read_answers {machine.folder}/one; '
        '[ -s "$WORK/problems" ] && echo no || echo yes; '
        f"done <{machine.folder}/tried"
    )
    taken = dict(zip(tried, machine.text(script).splitlines(), strict=True))
    site = {question.name for question in QUESTIONS}
    for (name, value), answer in taken.items():
        answers = {"Kickstart_PrivateHostname": "head", "Kickstart_PrivateInterface": "lo", name: value}
        problems = [
            one for one in installation_problems(answers) if one.startswith(f"{name}:") or value in one
        ]
        if name in site:
            assert problems or answer == "yes", (name, value, problems)
        else:
            assert (not problems) == (answer == "yes"), (name, value, problems)
    assert sum(answer == "yes" for answer in taken.values()) > len(taken) // 2


@pytest.mark.slow
def test_adapters_are_listed_with_what_they_lack(machine: Shell) -> None:
    """No driver, no firmware, no link; one at USB is taken only by its address."""
    (machine.folder / "sys/class/net/eth1/carrier").write_text("0\n")
    _add_adapter(machine, "usb0", "52:54:00:00:01:02", 1, bus="usb")
    _add_adapter(machine, "ib0", "80:00:00:48:fe:80", 9)
    (machine.folder / "sys/class/net/ib0/type").write_text("32\n")
    for place, card, driver in (
        ("01:00.0", "0x020000", ""),
        ("02:00.0", "0x020000", "bnx2x"),
        ("03:00.0", "0x010000", ""),
    ):
        pci = machine.folder / "sys/bus/pci/devices" / f"0000:{place}"
        pci.mkdir(parents=True)
        for name, text in {"class": card, "vendor": "0x14e4", "device": "0x1657"}.items():
            (pci / name).write_text(f"{text}\n")
        if driver:
            (machine.folder / driver).mkdir()
            (pci / "driver").symlink_to(machine.folder / driver)
    listed = machine.text("list_adapters").splitlines()
    assert listed == [
        "usb0  52:54:00:00:01:02  link  driver cdc_ether  USB",
        f"eth0  {PRIVATE}  link  driver e1000e",
        f"eth1  {PUBLIC}  no link  driver e1000e",
        "PCI 0000:01:00.0 (0x14e4:0x1657): no driver",
        "PCI 0000:02:00.0 (0x14e4:0x1657): its driver bnx2x has made no device: is firmware missing?",
    ]
    machine.text(_script(machine, ANSWERS) + 'write_plan; warn_of_links; cat "$WORK/plan"')
    plan = (machine.folder / "work/plan").read_text()
    assert f"interface eth0 {PRIVATE}" in plan and f"interface eth1 {PUBLIC}" in plan
    console = (machine.folder / "console").read_text()
    assert console.count("WARNING") == 1
    assert f"eth1 ({PUBLIC}) has no link; adapters with a link: 52:54:00:00:01:02 {PRIVATE}" in console
    named = ANSWERS + "install_public_mac = 52:54:00:00:01:02\n"
    assert "interface eth1 52:54:00:00:01:02" in machine.text(
        _script(machine, named) + 'write_plan; cat "$WORK/plan"'
    )


def test_the_second_adapter_is_not_one_at_usb(machine: Shell) -> None:
    """The frontend gets those that may be the device of a host on the network public."""
    _add_adapter(machine, "eth2", "52:54:00:00:01:02", 4, link=False)
    _add_adapter(machine, "eth3", "52:54:00:00:01:03", 5, bus="usb")
    script = 'report() { echo "$@"; }; fetch() { :; }; read_plan() { :; }; stage() { :; }; matches() { :; }; fetch_plan'
    assert machine.text(script).strip() == f"adapters {PRIVATE} {PUBLIC}"


def test_a_person_is_offered_adapters_that_are_not_at_usb(machine: Shell) -> None:
    _add_adapter(machine, "usb0", "52:54:00:00:01:02", 1, bus="usb")
    (machine.folder / "work/site").mkdir()
    script = "ask() { reply=$2; }; ask_networks; "
    machine.text(f'GIVEN={machine.folder}/work/site; {script}grep mac "$GIVEN/answers"')
    answers = (machine.folder / "work/site/answers").read_text()
    assert f"install_private_mac = {PRIVATE}\n" in answers and f"install_public_mac = {PUBLIC}\n" in answers
    assert (
        "  1) usb0  52:54:00:00:01:02  link  driver cdc_ether  USB\n"
        in (machine.folder / "console").read_text()
    )


@pytest.mark.slow
def test_a_machine_with_too_few_adapters(machine: Shell) -> None:
    for device, problem in (
        (
            "eth1",
            f"there is no adapter for the network public. This machine has: eth0 {PRIVATE} link driver e1000e",
        ),
        ("eth0", "there is no adapter for the network private. This machine has: no network adapter"),
    ):
        (machine.folder / "sys/class/net" / device).rename(machine.folder / f"without-{device}")
        assert problem in machine.error(_script(machine, ANSWERS))


def test_files_of_other_editors(machine: Shell) -> None:
    """An argument of the kernel takes the place of the first line, too."""
    site = machine.folder / "work/site"
    given = machine.folder / "medium/site"
    given.mkdir()
    (given / "answers").write_bytes(b"\xef\xbb\xbfinstall_disk = serial=A\r\ninstall_overwrite = yes\r\n")
    (given / "attributes").write_bytes(b"\xef\xbb\xbfboot_service = yes\r\nnas img_zpools = tank\r\n")
    (machine.folder / "line").write_text("install_disk=smallest\n")
    script = (
        f"MEDIUM={machine.folder}/medium; CMDLINE={machine.folder}/line; GIVEN={site}; sleep() {{ :; }}; "
    )
    machine.text(script + "find_site")
    assert (site / "answers").read_text().split("\n") == [
        *("install_overwrite = yes", "", "install_disk = smallest", "")
    ]
    assert (site / "attributes").read_text() == "boot_service = yes\nnas img_zpools = tank\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rolls", "copied"),
    [
        ("all", {"mpi (1).iso", "os.iso", "tool-sr1.iso", "site.iso"}),
        ("none", set()),
        ("os", {"os.iso"}),
        ("tool site.iso", {"tool-sr1.iso", "site.iso"}),
        ("tool-sr1 rocks", {"tool-sr1.iso"}),
    ],
)
def test_rolls_are_named_without_the_drive(machine: Shell, rolls: str, copied: set[str]) -> None:
    """Those beside the answers, too, whatever the file system there is; the medium's own may be named."""
    store, site = machine.folder / "store", machine.folder / "stick"
    (store / "rolls").mkdir(parents=True)
    site.mkdir()
    (site / "site.iso").write_text("a roll")
    own = machine.folder / "medium/frontend/rolls"
    own.mkdir()
    (own / "rocks.iso").touch()
    begin = (
        'block_devices() { echo sdb; }; tag_of() { [ "$2" != TYPE ] || echo ext4; }; disk_of() { echo "$1"; }; '
        f"SITE_DEVICE=sdb; FROM={site}; umount() {{ exit 9; }}; "
    )
    disc = "echo 'device|/dev/sr1|tool-sr1.iso' >>\"$WORK/rolls\"; read_iso() { echo; }; "
    script = _script(machine, f"{ANSWERS}install_rolls = {rolls}\n").replace(
        "list_rolls; ", f"list_rolls; {disc}"
    )
    machine.text(f"{begin}{script}STORE={store}; stage() {{ :; }}; copy_rolls")
    assert {path.name for path in (store / "rolls").iterdir()} == copied
