"""Secret attributes: only root reads them, and no command line contains them."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rocks.core.errors import HostError
from rocks.core.process import run_checked
from rocks.inventory.attributes.records import replace_attribute
from rocks.inventory.attributes.rules import VALUE_LONGEST_BYTES
from rocks.machine import converge
from rocks.machine import stop as fence_command
from tests.system.commands.conftest import Site


def give(site: Site, text: str) -> None:
    """The next command finds this on its standard input."""
    give_bytes(site, text.encode())


def give_bytes(site: Site, data: bytes) -> None:
    """As `give`, also of what is no text."""
    site.patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))


def listed(site: Site, *command: str) -> list[dict[str, str]]:
    """The rows of a listing, without its grouping."""
    rows = json.loads(site.done("list", *command, "sec_attr", "json=yes"))
    return [cells for row in rows for key, group in row.items() if isinstance(group, list) for cells in group]


def test_set_list_and_remove(vm_site: Site, tmp_path: Path) -> None:
    give(vm_site, "for all\n")
    assert vm_site.done("set sec_attr ipmi_password") == ""
    file = tmp_path / "secret"
    file.touch(mode=0o600)
    file.write_text("a b=c'\"\nd\n")
    vm_site.done("set host sec_attr vmc-0-0 vmc-0-1 ipmi_password", f"file={file}")
    assert "for all" in vm_site.done("list sec_attr")
    assert [cells["value"] for cells in listed(vm_site, "host")] == ["a b=c'\"\nd"] * 2
    assert "ipmi_password" not in vm_site.done("list host attr vmc-0-0")
    vm_site.done("remove host sec_attr vmc-0-0 ipmi_password")
    assert vm_site.done("list host sec_attr vmc-0-0") == ""
    assert "ipmi_password" in vm_site.done("list host sec_attr vmc-0-1")
    noted = vm_site.rocks("remove sec_attr ipmi_pasword")
    assert (noted.status, noted.out) == (0, "")
    assert noted.err == (
        'no global secret attribute "ipmi_pasword": did you mean ipmi_password? rocks list sec_attr shows all\n'
    )
    vm_site.done("remove sec_attr ipmi_password")
    assert vm_site.done("list sec_attr") == ""
    noted = vm_site.rocks("remove host sec_attr vmc-0-0 vmc-0-1 root_pw")
    assert (noted.status, noted.out) == (0, "")
    assert 'no host secret attribute "root_pw" of vmc-0-0, vmc-0-1: rocks list host sec_attr' in noted.err


def test_refusals(vm_site: Site, tmp_path: Path) -> None:
    readable = tmp_path / "readable"
    readable.write_text("x")
    readable.chmod(0o640)
    os.mkfifo(tmp_path / "fifo", 0o600)
    give(vm_site, "")
    for arguments, message in (
        (("sec_attr",), "must supply attr"),
        (("sec_attr", "x"), "the value is empty"),
        (("sec_attr", "a b", f"file={readable}"), "others may read"),
        (("sec_attr", "x", f"file={tmp_path / 'fifo'}"), "is not a file"),
        (("sec_attr", "x", "file=/"), "cannot read /: it is not a file"),
        (("sec_attr", "x", f"file={tmp_path / 'none'}"), "No such file"),
        (
            ("host", "sec_attr", "vmc-0-0", "vm_fence_command", "x"),
            "a value is not given on the command line",
        ),
        (("sec_attr", "vm_fence_command", "x"), "a value is not given on the command line"),
    ):
        assert message in vm_site.refused("set", *arguments), arguments


def test_a_value_that_is_no_text_is_refused(vm_site: Site, tmp_path: Path) -> None:
    """A key of random bytes, from standard input and from a file."""
    give_bytes(vm_site, b"\xff\x00\xfe")
    assert vm_site.refused("set sec_attr x") == "the value is not UTF-8 text"
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_bytes(b"\xff\x00\xfe")
    assert vm_site.refused("set sec_attr x", f"file={file}") == f"{file} is not UTF-8 text"
    for text in ("ü" * VALUE_LONGEST_BYTES, "a" + "ü" * VALUE_LONGEST_BYTES):  # one is cut within a character
        give(vm_site, text)
        assert "is too long" in vm_site.refused("set sec_attr x")


def test_a_value_on_the_command_line_is_refused_and_not_logged(vm_site: Site) -> None:
    lines: list[str] = []
    vm_site.patch.setattr("rocks.commands._framework.run_command.log", lines.append)
    for arguments in (("sec_attr", "x", "geheim"), ("host", "sec_attr", "vmc-0-0", "x", "geheim")):
        vm_site.refused("set", *arguments)
    assert lines and not [line for line in lines if "geheim" in line]


def test_no_command_of_attributes_takes_a_secret(vm_site: Site) -> None:
    """Other users see a command line, and the attribute would be readable."""
    for verb in ["set", "add"]:
        for name in ["vm_fence_command", "root_pw"]:
            message = f"{name} is a secret: rocks set {{}} {name}, which reads the value from standard input"
            for place in ("host attr vmc-0-0", "appliance attr compute", "os attr linux"):
                refused = vm_site.refused(f"{verb} {place} {name} geheim")
                assert refused == message.format("host sec_attr HOST")
            assert vm_site.refused(f"{verb} attr {name} geheim") == message.format("sec_attr")
            assert "geheim" not in vm_site.refused(f"{verb} appliance attr {name} geheim"), (
                "it would be logged"
            )
            assert "geheim" not in vm_site.done("list host attr") + vm_site.done("list host sec_attr")


def test_the_dump_of_secrets_of_an_earlier_release_can_be_replayed(vm_site: Site) -> None:
    """The value goes to standard input, from a command of the shell itself."""
    vm_site.set_as_before("root_pw", "a 'b\\\nc", "vmc-0-0")
    vm_site.set_as_before("api_token", "for all")
    (of_host,) = [line for line in _lines_of(vm_site.done("dump host attr")) if "root_pw" in line]
    (of_all,) = [line for line in _lines_of(vm_site.done("dump attr")) if "api_token" in line]
    for line, expected, value in (
        (of_host, "set host sec_attr vmc-0-0 root_pw", "a 'b\\\nc\n"),
        (of_all, "set sec_attr api_token", "for all\n"),
    ):
        printed, _, command = line.rpartition(" | ")
        assert command.endswith(expected)
        assert run_checked(["bash", "-c", printed.replace("\0", "'\n'")], deadline_seconds=10).text == value
    replace_attribute(vm_site.database, "appliance", ["compute"], "root_pw", "geheim")
    vm_site.database.commit()
    dumped = vm_site.done("dump appliance attr")
    assert "# the secret root_pw of appliance compute is left out" in dumped
    assert "geheim" not in dumped


def _lines_of(text: str) -> list[str]:
    """The commands; a value may have line ends, which are quoted."""
    return text.replace("'\n'", "\0").splitlines()


@pytest.fixture
def fenced_by(vm_site: Site) -> Callable[[], list[str]]:
    """The machine `web` runs on vmc-0-0, and is stopped by force: the program that fences its host."""
    executed: list[list[str]] = []
    vm_site.patch.setattr(
        fence_command.process, "run_checked", lambda arguments, **more: executed.append(arguments)
    )
    vm_site.patch.setattr(converge, "perform_operations", lambda *_: [("web", HostError("no route"))])
    vm_site.done("add host vm vmc-0-0 membership=compute name=web")

    def stop() -> list[str]:
        vm_site.take_lease("web", "vmc-0-0")
        assert vm_site.rocks("stop host vm web force=yes reason=off").status == 0
        return executed.pop()

    return stop


def test_the_fence_command_of_the_narrowest_scope_decides(
    vm_site: Site, fenced_by: Callable[[], list[str]]
) -> None:
    """An appliance has no table of secrets: its command is an attribute, and beats the global one."""
    give(vm_site, "GLOBAL")
    vm_site.done("set sec_attr vm_fence_command")
    replace_attribute(vm_site.database, "appliance", ["vm-container"], "vm_fence_command", "APPLIANCE")
    vm_site.database.commit()
    assert fenced_by() == ["APPLIANCE"]
    vm_site.done("remove appliance attr vm-container vm_fence_command")
    assert fenced_by() == ["GLOBAL"]
    give(vm_site, "HOST")
    vm_site.done("set host sec_attr vmc-0-0 vm_fence_command")
    assert fenced_by() == ["HOST"]
