"""What hosts do when they boot: next boot, run and install actions, and the actions themselves."""

from pathlib import Path

import pytest

from tests.command_trees import write_hook
from tests.system.commands.conftest import Site


@pytest.fixture
def two(site: Site) -> Site:
    """Two computes."""
    site.done("add host compute-0-0")
    site.done("add host compute-0-1")
    return site


def test_list_host_boot_has_dashes_where_there_is_none(two: Site) -> None:
    two.done("set host boot compute-0-1 action=install")
    assert two.done("list host boot") == (
        "HOST         ACTION \ncompute-0-0: -------\ncompute-0-1: install\n"
    )


def test_set_host_boot_has_one_row_a_host(two: Site) -> None:
    two.done("set host boot compute-0-0 action=install")
    two.done("set host boot compute action=run")
    two.done("set host boot compute action=os")
    assert two.database.rows("SELECT Action FROM boot") == [("os",), ("os",)]


def test_set_host_boot_calls_the_hooks_also_without_an_action(two: Site, tree: Path) -> None:
    log = tree / "log"
    write_hook(
        tree, "set/host/boot", "pxe", f"def run(self, host): open({str(log)!r}, 'a').write(host + '\\n')\n"
    )
    two.done("set host boot compute")
    assert log.read_text() == "compute-0-0\ncompute-0-1\n"
    assert two.database.rows("SELECT * FROM boot") == []


def test_actions_of_hosts(two: Site) -> None:
    two.done("set host runaction compute none")
    two.done("set host installaction compute-0-1 'action=INSTALL vm frontend'")
    assert two.done("list host compute output-col=host,runaction,installaction") == (
        "HOST         RUNACTION INSTALLACTION      \n"
        "compute-0-0: --------- install            \n"
        "compute-0-1: --------- install vm frontend\n"
    )


_SET_REFUSES: tuple[tuple[list[str], str], ...] = (
    (["boot", "compute-0-0", "action=reboot"], 'invalid action. action must be "os", "run" or "install"'),
    (["boot", "compute-0-0", "action="], 'invalid action. action must be "os", "run" or "install"'),
    (["boot", "compute-0-0", "action=OS"], 'invalid action. action must be "os", "run" or "install"'),
    (["boot"], "must supply at least one host"),
    (["runaction", "compute-0-0", "fly"], 'action "fly" does not exist'),
    (["installaction", "compute-0-0", "fly"], 'action "fly" does not exist'),
    (["installaction", "compute-0-0"], "must supply at least one host"),
    (["installaction"], "must supply action"),
)


def test_set_refuses(two: Site) -> None:
    for arguments, message in _SET_REFUSES:
        assert message in two.refused("set host", *arguments), arguments


def test_bootactions_are_sorted_and_updated(two: Site) -> None:
    two.change("DELETE FROM bootaction")
    two.done("add bootaction 'action=memory test' kernel=memtest86 'args=a=1 b=<2>'")
    two.done("add bootaction action=install kernel=vmlinuz ramdisk=initrd.img args=ks")
    two.done("add bootaction 'action=Memory Test' kernel=memtest")
    assert two.done("list bootaction") == (
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


def test_add_bootaction_refuses(two: Site) -> None:
    for arguments, message in _ADD_BOOTACTION_REFUSES:
        assert message in two.refused("add bootaction", *arguments), arguments


def test_dump_host_boot(two: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCKS_LAUNCHER", "/opt/rocks/bin/rocks")
    two.done("set host boot compute-0-1 action=install")
    assert two.done("dump host boot") == "/opt/rocks/bin/rocks set host boot compute-0-1 action=install\n"


@pytest.fixture
def pxe(two: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A boot service's folder; the computes have private addresses."""
    folder = tmp_path / "pxelinux.cfg"
    folder.mkdir()
    monkeypatch.setenv("ROCKS_PXE_FOLDER", str(folder))
    for number in range(2):
        two.done(
            "add host interface",
            f"compute-0-{number}",
            "eth0",
            f"ip=10.1.255.{254 - number}",
            "subnet=private",
        )
    return folder


def test_boots_are_answered_by_what_was_set(two: Site, pxe: Path) -> None:
    """A file for each host, by its address; the next boot, and another action, write it anew."""
    two.done("set host boot compute action=install")
    assert sorted(path.name for path in pxe.iterdir()) == ["0A01FFFD", "0A01FFFE"]
    assert "  kernel vmlinuz\n  append ks kssendmac initrd=initrd.img\n" in (pxe / "0A01FFFE").read_text()
    two.done("set host boot compute-0-0 action=os")
    assert (pxe / "0A01FFFE").read_text().endswith("  localboot 0\n")
    assert "vmlinuz" in (pxe / "0A01FFFD").read_text()
    two.done("add bootaction action=memtest kernel=memtest86")
    two.done("set host runaction compute-0-0 memtest")
    assert (pxe / "0A01FFFE").read_text().endswith("  kernel memtest86\n")
    two.done("add bootaction action=memtest kernel=memtest87")
    assert (pxe / "0A01FFFE").read_text().endswith("  kernel memtest87\n")
    two.done("set host runaction compute-0-0 none")
    assert [path.name for path in pxe.iterdir()] == ["0A01FFFD"]


def test_a_host_that_goes_takes_its_answer_with_it(two: Site, pxe: Path) -> None:
    two.done("set host boot compute action=install")
    two.done("remove host compute-0-0")
    assert [path.name for path in pxe.iterdir()] == ["0A01FFFD"]


def test_a_file_that_cannot_be_written_is_reported(two: Site, pxe: Path) -> None:
    (pxe / "0A01FFFE").mkdir()
    message = two.refused("set host boot compute-0-0 action=install")
    assert message.startswith(
        f"the boot file {pxe / '0A01FFFE'} of compute-0-0 cannot be written: Is a directory"
    )
