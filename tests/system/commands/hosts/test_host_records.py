"""Records of hosts: comments, boot flags, next boots, boot actions, keys, rolls, partitions; and distributions."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rocks.fleet.fleet import CommandResult
from rocks.inventory.disks import partitions as disk_partitions
from tests.command_trees import write_hook
from tests.system.commands.conftest import Site

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDV7mVuaE1MyyQ5O0S3k3BkSmz9zbBXVhEcLK0fVnFZ7 owner"


@pytest.fixture
def two(site: Site) -> Site:
    """A frontend `fe` and a compute."""
    site.done("add host fe membership=Frontend rack=0 rank=0")
    site.done("add host compute-0-0")
    return site


def test_a_boot_action_is_removed_unless_a_host_has_it(two: Site) -> None:
    two.done("add bootaction action=memtest kernel=memtest")
    two.done("set host runaction compute-0-0 memtest")
    assert "host compute-0-0 has it" in two.refused("remove bootaction memtest")
    two.done("set host runaction compute-0-0 os")
    two.done("remove bootaction action=Memtest")
    assert 'action "memtest" does not exist' in two.refused("remove bootaction memtest")
    assert "memtest" not in two.done("list bootaction")


def test_the_licence_needs_no_database(site: Site) -> None:
    site.patch.setenv("ROCKS_DATABASE_SOCKET", "/nowhere")
    assert "Apache-2.0" in site.done("list license")


def test_a_comment_is_an_attribute_of_the_host(two: Site) -> None:
    two.done("set host comment compute-0-0", "memory = replaced; 'ok'")
    assert two.done("report host attr compute-0-0 attr=comment") == "memory = replaced; 'ok'\n"
    assert "not a printable" in two.refused("set host comment compute-0-0", "two\nlines")
    two.done("set host comment % NULL")
    assert "does not exist" in two.refused("report host attr compute-0-0 attr=comment")


def test_boot_flags_of_a_host_replace_those_of_all(two: Site) -> None:
    two.done("set host bootflags 'flags=console=ttyS0 quiet'")
    two.done("set host bootflags compute-0-0 flags=mem=1024M")
    assert two.done("report host bootflags compute-0-0") == "mem=1024M\n"
    assert two.done("report host bootflags") == "fe: console=ttyS0 quiet\ncompute-0-0: mem=1024M\n"
    assert "is not valid" in two.refused("set host bootflags fe", 'flags=a"; halt')
    assert "must supply flags" in two.refused("set host bootflags fe")
    two.done("remove host bootflags compute-0-0")
    assert two.done("report host bootflags compute-0-0") == "console=ttyS0 quiet\n"
    two.done("remove host bootflags")
    assert two.done("report host bootflags") == ""


def test_boot_flags_go_into_the_profile_of_an_installed_host(two: Site) -> None:
    """After the attribute for the same arguments."""
    from rocks.install.profiles import load_sites

    two.done("set host bootflags flags=quiet")
    two.done("set host attr compute-0-0 install_kernel_arguments value=console=ttyS0")
    sites = load_sites(two.database, ["fe", "compute-0-0"])
    assert [site.host.attribute("install_kernel_arguments") for site in sites] == [
        "quiet",
        "console=ttyS0 quiet",
    ]


def test_a_next_boot_is_removed(two: Site) -> None:
    two.done("set host boot % action=install")
    two.done("remove host boot compute-0-0")
    assert two.database.rows("SELECT n.Name, b.Action FROM boot b JOIN nodes n ON n.ID = b.Node") == [
        ("fe", "install")
    ]
    two.done("remove host boot compute-0-0")


def test_a_key_is_listed_line_by_line(two: Site) -> None:
    two.done("add host key fe", f"key={ED25519}", "description=of the owner")
    listed = two.done("list host key fe").splitlines()
    assert listed[0] == "HOST ID DESCRIPTION  PUBLIC KEY                                                  "
    assert listed[1].startswith("fe:  ") and "of the owner -----BEGIN PUBLIC KEY-----" in listed[1]
    assert (
        listed[2].startswith(":   ")
        and "MCowBQYDK2VwAyEANXuZW5oTUzLJDk7RLeTcGRKbP3NsFdWERwsrR9WcVns=" in listed[2]
    )
    assert listed[-1].startswith(":   ") and set(listed[-1].split()[-1]) == {"-"}
    assert "the public key already exists for host fe" in two.refused("add host key fe", f"key={ED25519}")
    (number,) = two.database.rows("SELECT ID FROM public_keys")[0]
    assert f"id {number + 1} doesn't exist for host fe" in two.refused(
        "remove host key fe", f"id={number + 1}"
    )
    assert "doesn't exist for host compute-0-0" in two.refused("remove host key compute-0-0", f"id={number}")
    two.done("remove host key fe", f"id={number}")
    assert two.done("list host key") == ""


def test_what_is_no_public_key_is_refused(two: Site) -> None:
    for given, error in [
        ("", "must supply a public key"),
        ("/nowhere/key", "there is no file /nowhere/key"),
        ("ssh-rsa AAAA", "not a public key"),
        ("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----", "this is a private key"),
        ("/", "there is no file /"),
    ]:
        assert error in two.refused("add host key fe", f"key={given}"), given


@pytest.mark.parametrize(("bits", "warning"), [(2048, "2048 bits, less than 3072"), (3072, "")])
def test_an_rsa_key_that_is_short_is_added_with_a_warning(
    two: Site, tmp_path: Path, bits: int, warning: str
) -> None:
    pem = rsa.generate_private_key(65537, bits).public_key()
    file = tmp_path / "key.pub"
    file.write_bytes(pem.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    added = two.rocks("add host key fe", f"key={file}")
    assert (added.status, added.out) == (0, "")
    assert warning in added.err and bool(added.err) == bool(warning)
    assert two.database.rows("SELECT COUNT(*) FROM public_keys") == [(1,)]


def test_rolls_are_chosen_for_frontends(two: Site) -> None:
    two.change(
        "INSERT INTO rolls (Name, Version, Arch) VALUES ('base', '7.0', 'x86_64'), ('kvm', '7.0', 'x86_64'),"
        " ('kvm', '6.2', 'x86_64')"
    )
    two.done("add host roll fe kvm base version=7.0")
    assert two.done("list host roll") == (
        "HOST NAME VERSION ARCH   OS   \nfe:  base 7.0     x86_64 linux\nfe:  kvm  7.0     x86_64 linux\n"
    )
    two.done("set host roll fe kvm version=6.2")
    assert two.done("list host roll output-header=no") == "fe:  kvm  6.2     x86_64 linux\n"
    assert '<roll name="kvm" version="6.2" arch="x86_64"/>' in two.done("report host roll fe")
    assert 'unknown roll "other"' in two.refused("set host roll fe other")
    assert "is not a frontend" in two.refused("add host roll compute-0-0 kvm")
    two.done("remove host roll fe kvm")
    assert two.done("list host roll") == ""


def test_partitions_are_added_listed_and_removed(two: Site) -> None:
    two.done("add host partition compute-0-0 device=sda1 mountpoint=/ size=20480MB type=ext4")
    two.done("add host partition compute-0-0 device=sda5 mountpoint=/state/partition1 size=100GB")
    assert two.done("list host partition") == (
        "DEVICE MOUNTPOINT        START SIZE    ID TYPE FLAGS FORMATFLAGS\n"
        "sda1   /                 ----- 20480MB -- ext4 ----- -----------\n"
        "sda5   /state/partition1 ----- 100GB   -- ---- ----- -----------\n"
    )
    assert two.done("list host partition bigmnt=yes") == "/state/partition1\n"
    assert "has this partition" in two.refused(
        "add host partition compute-0-0 device=sda5 mountpoint=/state/partition1 size=100GB"
    )
    assert "must supply device or mountpoint" in two.refused("add host partition fe size=1GB")
    two.done("remove host partition compute-0-0 partition=/")
    assert "no such partition" in two.refused("remove host partition compute-0-0 device=sdz")
    two.done("remove host partition %")
    assert two.done("list host partition") == ""


def test_partitions_are_what_this_machine_reports(two: Site) -> None:
    """lsblk of this machine; a host that does not answer keeps what it has."""
    two.done("add host partition compute-0-0 device=old mountpoint=/old")
    two.done("set attr Kickstart_PrivateHostname fe")
    assert two.rocks("save host partitions").status == 0
    document = json.dumps(
        {"blockdevices": [{"kname": "/dev/sda", "type": "disk", "mountpoint": None, "size": "2097152", "children": [
            {"kname": "/dev/sda1", "type": "part", "mountpoint": "/data", "size": 1048576, "fstype": "ext4",
             "parttype": "0x83", "partflags": "0x80"}]}]}
    )  # fmt: skip
    results = [
        CommandResult("fe", 0, f"{document}\nsectors\n/sys/class/block/sda1/start:2048\n", "", "done", ""),
        CommandResult("compute-0-0", 0, "", "", "down", "no route to host"),
    ]
    two.patch.setattr(disk_partitions, "run_on_hosts", lambda *_: results)
    ended = two.rocks("save host partitions fe compute-0-0")
    assert (ended.status, ended.out) == (3, "") and "no route to host" in ended.err
    assert (
        two.done("list host partition fe output-header=no")
        == "sda1   /data      2048  1MB  83 ext4 0x80  -----------\n"
    )
    assert "/old" in two.done("list host partition compute-0-0")


def test_an_interface_is_disabled_for_guests(two: Site) -> None:
    two.done("add host interface compute-0-0 eth0")
    two.done("add host interface compute-0-0 eth1")
    two.done("set host interface disablekvm compute-0-0 eth1 yes")
    assert two.done("list host interface disablekvm compute-0-0") == (
        "INTERFACE DISABLEKVM\neth0      False     \neth1      True      \n"
    )
    assert "must supply iface" in two.refused("set host interface disablekvm disablekvm=yes")
    assert "must be yes or no" in two.refused("set host interface disablekvm compute-0-0 eth1 perhaps")


def test_a_command_is_run_for_each_host(two: Site, tmp_path: Path) -> None:
    two.done("set attr Kickstart_PrivateHostname fe")
    two.done("add host compute-0-1")
    log = tmp_path / "log"
    two.done("iterate host", f"echo '%' 100%% >>{log}")
    assert log.read_text() == "compute-0-0 100%\ncompute-0-1 100%\n"
    ended = two.rocks("iterate host fe compute-0-0 '[ % = fe ]'")
    assert (ended.status, ended.err) == (3, "compute-0-0: exit status 1\n")
    assert two.rocks("iterate host % false").status == 1
    assert "must supply a command" in two.refused("iterate host compute-0-0")


def test_old_values_are_listed_and_removed(two: Site) -> None:
    two.done("set attr Kickstart_PrivateHostname fe")
    two.done("add attr colour red")
    two.done("set attr colour blue")
    assert two.done("run reconfigure showattr=yes") == "ATTR    OLD VALUE VALUE\ncolour: red       blue \n"
    two.done("run reconfigure clear=1")
    assert two.done("run reconfigure showattr=yes") == ""
    assert two.done("report host attr fe attr=colour") == "blue\n"


def test_list_host_boot_has_dashes_where_there_is_none(computes: Site) -> None:
    computes.done("set host boot compute-0-1 action=install")
    assert computes.done("list host boot") == (
        "HOST         ACTION \ncompute-0-0: -------\ncompute-0-1: install\n"
    )


def test_set_host_boot_has_one_row_a_host(computes: Site) -> None:
    computes.done("set host boot compute-0-0 action=install")
    computes.done("set host boot compute action=run")
    computes.done("set host boot compute action=os")
    assert computes.database.rows("SELECT Action FROM boot") == [("os",), ("os",)]


def test_set_host_boot_calls_the_hooks_also_without_an_action(computes: Site, tree: Path) -> None:
    log = tree / "log"
    write_hook(
        tree, "set/host/boot", "pxe", f"def run(self, host): open({str(log)!r}, 'a').write(host + '\\n')\n"
    )
    computes.done("set host boot compute")
    assert log.read_text() == "compute-0-0\ncompute-0-1\n"
    assert computes.database.rows("SELECT * FROM boot") == []


def test_actions_of_hosts(computes: Site) -> None:
    computes.done("set host runaction compute none")
    computes.done("set host installaction compute-0-1 'action=INSTALL vm frontend'")
    assert computes.done("list host compute output-col=host,runaction,installaction") == (
        "HOST         RUNACTION INSTALLACTION      \n"
        "compute-0-0: --------- install            \n"
        "compute-0-1: --------- install vm frontend\n"
    )


_SET_REFUSES: tuple[tuple[list[str], str], ...] = (
    (["boot", "compute-0-0", "action=reboot"], 'invalid action. action must be "os", "run" or "install"'),
    (["boot", "compute-0-0", "action="], 'invalid action. action must be "os", "run" or "install"'),
    (["boot", "compute-0-0", "action=OS"], 'invalid action. action must be "os", "run" or "install"'),
    (["runaction", "compute-0-0", "fly"], 'action "fly" does not exist'),
    (["installaction", "compute-0-0", "fly"], 'action "fly" does not exist'),
    (["installaction", "compute-0-0"], "must supply at least one host"),
    (["installaction"], "must supply action"),
)


def test_set_refuses(computes: Site) -> None:
    for arguments, message in _SET_REFUSES:
        assert message in computes.refused("set host", *arguments), arguments


def test_bootactions_are_sorted_and_updated(computes: Site) -> None:
    computes.change("DELETE FROM bootaction")
    computes.done("add bootaction 'action=memory test' kernel=memtest86 'args=a=1 b=<2>'")
    computes.done("add bootaction action=install kernel=vmlinuz ramdisk=initrd.img args=ks")
    computes.done("add bootaction 'action=Memory Test' kernel=memtest")
    assert computes.done("list bootaction") == (
        "ACTION       KERNEL  RAMDISK    ARGS\n"
        "install:     vmlinuz initrd.img ks  \n"
        "memory test: memtest ---------- ----\n"
    )


_ADD_BOOTACTION_REFUSES: tuple[tuple[list[str], str], ...] = (
    ([], "must supply an action"),
    (["action=none"], 'action "none" is not valid'),
    (["action=a'b"], "is not valid"),
    (["action= a"], "is not valid"),
    (["action=" + "a" * 65], "1 to 64 characters"),
    (["action=a", "kernel=" + "k" * 257], "kernel is too long: 257 characters, at most 256"),
    (["action=a", "ramdisk=" + "k" * 257], "ramdisk is too long"),
    (["action=a", "args=" + "k" * 1025], "args is too long"),
    (["action=a", "args=a\tb"], "not a printable character"),
)


def test_add_bootaction_refuses(computes: Site) -> None:
    for arguments, message in _ADD_BOOTACTION_REFUSES:
        assert message in computes.refused("add bootaction", *arguments), arguments


def test_dump_host_boot(computes: Site) -> None:
    computes.patch.setenv("ROCKS_LAUNCHER", "/opt/rocks/bin/rocks")
    computes.done("set host boot compute-0-1 action=install")
    assert (
        computes.done("dump host boot") == "/opt/rocks/bin/rocks set host boot compute-0-1 action=install\n"
    )


@pytest.fixture
def pxe(computes: Site, tmp_path: Path) -> Path:
    """A boot service's folder; the computes have private addresses."""
    folder = tmp_path / "pxelinux.cfg"
    folder.mkdir()
    computes.patch.setenv("ROCKS_PXE_FOLDER", str(folder))
    for number in range(2):
        computes.done(
            "add host interface",
            f"compute-0-{number}",
            "eth0",
            f"ip=10.1.255.{254 - number}",
            "subnet=private",
        )
    return folder


def test_boots_are_answered_by_what_was_set(computes: Site, pxe: Path) -> None:
    """A file for each host, by its address; the next boot, and another action, write it anew."""
    computes.done("set host boot compute action=install")
    assert sorted(path.name for path in pxe.iterdir()) == ["0A01FFFD", "0A01FFFE"]
    assert "  kernel vmlinuz\n  append ks kssendmac initrd=initrd.img\n" in (pxe / "0A01FFFE").read_text()
    computes.done("set host boot compute-0-0 action=os")
    assert (pxe / "0A01FFFE").read_text().endswith("  localboot 0\n")
    assert "vmlinuz" in (pxe / "0A01FFFD").read_text()
    computes.done("add bootaction action=memtest kernel=memtest86")
    computes.done("set host runaction compute-0-0 memtest")
    assert (pxe / "0A01FFFE").read_text().endswith("  kernel memtest86\n")
    computes.done("add bootaction action=memtest kernel=memtest87")
    assert (pxe / "0A01FFFE").read_text().endswith("  kernel memtest87\n")
    computes.done("set host runaction compute-0-0 none")
    assert [path.name for path in pxe.iterdir()] == ["0A01FFFD"]


def test_a_host_that_goes_takes_its_answer_with_it(computes: Site, pxe: Path) -> None:
    computes.done("set host boot compute action=install")
    computes.done("remove host compute-0-0")
    assert [path.name for path in pxe.iterdir()] == ["0A01FFFD"]


def test_a_file_that_cannot_be_written_is_reported(computes: Site, pxe: Path) -> None:
    (pxe / "0A01FFFE").mkdir()
    message = computes.refused("set host boot compute-0-0 action=install")
    assert message.startswith(
        f"the boot file {pxe / '0A01FFFE'} of compute-0-0 cannot be written: Is a directory"
    )
