"""Next boots of hosts, boot actions and boot flags, and what the boot service answers."""

from pathlib import Path

import pytest

from tests.command_trees import write_hook
from tests.system.commands.conftest import Site


def test_a_boot_action_is_removed_unless_a_host_has_it(pair: Site) -> None:
    pair.done("add bootaction action=memtest kernel=memtest")
    pair.done("set host runaction compute-0-0 memtest")
    assert "host compute-0-0 has it" in pair.refused("remove bootaction memtest")
    pair.done("set host runaction compute-0-0 os")
    pair.done("remove bootaction action=Memtest")
    assert 'action "memtest" does not exist' in pair.refused("remove bootaction memtest")
    assert "memtest" not in pair.done("list bootaction")


def test_boot_flags_of_a_host_replace_those_of_all(pair: Site) -> None:
    pair.done("set host bootflags 'flags=console=ttyS0 quiet'")
    pair.done("set host bootflags compute-0-0 flags=mem=1024M")
    assert pair.done("report host bootflags compute-0-0") == "mem=1024M\n"
    assert pair.done("report host bootflags") == "fe: console=ttyS0 quiet\ncompute-0-0: mem=1024M\n"
    assert "is not valid" in pair.refused("set host bootflags fe", 'flags=a"; halt')
    assert "must supply flags" in pair.refused("set host bootflags fe")
    pair.done("remove host bootflags compute-0-0")
    assert pair.done("report host bootflags compute-0-0") == "console=ttyS0 quiet\n"
    pair.done("remove host bootflags")
    assert pair.done("report host bootflags") == ""


def test_boot_flags_go_into_the_profile_of_an_installed_host(pair: Site) -> None:
    """After the attribute for the same arguments."""
    from rocks.install.host_profiles import load_sites

    pair.done("set host bootflags flags=quiet")
    pair.done("set host attr compute-0-0 install_kernel_arguments value=console=ttyS0")
    sites = load_sites(pair.database, ["fe", "compute-0-0"])
    assert [site.host.attribute("install_kernel_arguments") for site in sites] == [
        "quiet",
        "console=ttyS0 quiet",
    ]


def test_a_next_boot_is_removed(pair: Site) -> None:
    pair.done("set host boot % action=install")
    pair.done("remove host boot compute-0-0")
    assert pair.database.rows("SELECT n.Name, b.Action FROM boot b JOIN nodes n ON n.ID = b.Node") == [
        ("fe", "install")
    ]
    pair.done("remove host boot compute-0-0")


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


def test_set_refuses(computes: Site) -> None:
    for arguments, message in (
        (["boot", "compute-0-0", "action=reboot"], 'invalid action. action must be "os", "run" or "install"'),
        (["boot", "compute-0-0", "action="], 'invalid action. action must be "os", "run" or "install"'),
        (["boot", "compute-0-0", "action=OS"], 'invalid action. action must be "os", "run" or "install"'),
        (["runaction", "compute-0-0", "fly"], 'action "fly" does not exist'),
        (["installaction", "compute-0-0", "fly"], 'action "fly" does not exist'),
        (["installaction", "compute-0-0"], "must supply at least one host"),
        (["installaction"], "must supply action"),
    ):
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


def test_add_bootaction_refuses(computes: Site) -> None:
    for arguments, message in (
        ([], "must supply an action"),
        (["action=none"], 'action "none" is not valid'),
        (["action=a'b"], "is not valid"),
        (["action= a"], "is not valid"),
        (["action=" + "a" * 65], "1 to 64 characters"),
        (["action=a", "kernel=" + "k" * 257], "kernel is too long: 257 characters, at most 256"),
        (["action=a", "ramdisk=" + "k" * 257], "ramdisk is too long"),
        (["action=a", "args=" + "k" * 1025], "args is too long"),
        (["action=a", "args=a\tb"], "not a printable character"),
    ):
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
