"""The pipeline on the command line: documents, profiles and installers' files from one command to the next."""

import io
import os
from pathlib import Path

import pytest
from lxml import etree

from rocks.core.process import Finished, run
from tests.system.commands.conftest import Ended, Site

CHECKOUT = Path(__file__).parents[4]


@pytest.fixture
def hosts(vm_site: Site) -> Site:
    """The site; vmc-0-0 is a VM container of RPM packages."""
    vm_site.done("set host attr vmc-0-0 packaging rpm")
    return vm_site


@pytest.fixture
def piped(hosts: Site):  # type: ignore[no-untyped-def]
    """`piped(text, "list", "host", "profile")`: a command with the text as its standard input."""

    def run_with(text: str | bytes, *arguments: str) -> Ended:
        data = text if isinstance(text, bytes) else text.encode()
        hosts.patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        return hosts.rocks(*arguments)

    return run_with


def shell(line: str, state: Path) -> Finished:
    """A command line as an operator types it, where there is no database."""
    environment = {**os.environ, "ROCKS_STATE": str(state), "PATH": f"{CHECKOUT}/bin:{os.environ['PATH']}"}
    return run(["bash", "-o", "pipefail", "-c", line], deadline_seconds=120, environment=environment)


def test_each_command_reads_the_one_before(hosts: Site, piped) -> None:  # type: ignore[no-untyped-def]
    document = hosts.done("list host xml vmc-0-0")
    profile = piped(document, "list", "host", "profile").out
    assert [section.get("name") for section in etree.fromstring(profile.encode())] == ["order", "kickstart"]
    kickstart = piped(profile, "list", "host", "installfile", "section=kickstart").out
    assert "\n%packages --ignoremissing\n" in kickstart and "\nqemu-kvm\n" in kickstart

    assert hosts.done("list host profile vmc-0-0") == profile
    assert hosts.done("list host installfile vmc-0-0 section=kickstart") == kickstart
    hosts.done("set host attr vmc-0-0 packaging deb")
    assert "d-i pkgsel/include" in hosts.done("list host installfile vmc-0-0 section=preseed")
    message = hosts.refused("list host installfile vmc-0-0 section=kickstart")
    assert message == (
        "the profile has no section kickstart, only order, preseed; the host has Debian's packages: "
        "rocks set host attr HOST packaging rpm"
    )


@pytest.mark.slow
def test_a_real_pipe_needs_no_database(tmp_path: Path) -> None:
    kickstart = (
        "rocks list node xml client attrs=\"{'kvm': 'yes', 'packaging': 'rpm'}\" | rocks list host profile"
        " | rocks list host installfile section=kickstart"
    )
    ended = shell(kickstart, tmp_path)
    assert (ended.exit_status, ended.error_text) == (0, "")
    assert "%packages --ignoremissing" in ended.text

    ended = shell("rocks list node xml client attrs=\"{'kvm': 'yes'}\" | rocks report post", tmp_path)
    assert (ended.exit_status, ended.error_text) == (0, "")
    assert "# Profile of host " in ended.text and "rocks_module macvtap" in ended.text

    ended = shell("rocks list node xml nosuch | rocks list host profile", tmp_path)
    assert ended.exit_status == 1
    assert "Error: error - node nosuch in not in graph" in ended.error_text
    assert (
        "Error: the standard input is empty; expected is the output of rocks list host xml HOST"
        in ended.error_text
    )


def test_sections_and_texts_become_scripts(piped) -> None:  # type: ignore[no-untyped-def]
    nodes = (
        '<kickstart><post>echo &who;</post></kickstart>\n<kickstart><post os="sunos">no</post></kickstart>'
    )
    script = piped(nodes, "report", "post", "attrs={'who': 'me', 'hostname': 'c-0'}").out
    assert script.startswith("#!/bin/bash\n# Profile of host c-0, printed by rocks report post;")
    assert "\necho me\n" in script and "\nno\n" not in script
    script = piped('a\n<file name="/f" os="sunos">x</file>', "report", "script", "os=sunos").out
    assert "rocks_file /f create '' '' keep" in script


def test_other_input_is_an_error_of_one_line(piped) -> None:
    for text, arguments, line in [
        (
            "",
            ("list", "host", "profile"),
            "the standard input is empty; expected is the output of rocks list host xml",
        ),
        (b"\xff", ("list", "host", "profile"), "the standard input is not UTF-8 text (byte 1)"),
        ("<a", ("list", "host", "profile"), "the standard input, line 1: invalid XML"),
        (
            "<x/>",
            ("list", "host", "installfile"),
            "must supply a section: section=kickstart, preseed or order",
        ),
        ("<x/>", ("list", "host", "installfile", "section=order"), "is not a profile: its root is <x>"),
        ("a && b", ("report", "script"), "the standard input, line 1: invalid XML"),
        ("<graph/>", ("report", "post"), "its root is <graph> and not <kickstart>"),
        ("<kickstart/>", ("report", "post", "attrs={1}"), "attrs is not a dictionary"),
    ]:
        ended = piped(text, *arguments)
        assert (ended.status, ended.out) == (1, ""), (text, arguments)
        assert ended.err.startswith("Error: ") and line in ended.err.splitlines()[0], (text, arguments)


def test_a_terminal_is_not_read(hosts: Site) -> None:
    controller, terminal = os.openpty()
    with os.fdopen(terminal, "r") as stdin:
        hosts.patch.setattr("sys.stdin", stdin)
        assert "the standard input is a terminal: pipe a text" in hosts.refused("report script")
        assert "is a terminal" in hosts.refused("list host installfile section=kickstart")
    os.close(controller)
