"""Kickstart files: what pykickstart reads in them for RHEL 8 and 9, and what cannot be part of one."""

import subprocess  # noqa: TID251 - a script is executed by the shell that it is for
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pykickstart.base import DeprecatedCommand, RemovedCommand
from pykickstart.version import makeVersion

from rocks.core.errors import StateError
from rocks.install.graph.kickstart import COMMANDS, kickstart_file
from rocks.install.graph.profile import Profile
from rocks.install.graph.shell import FOLDER, FirstBootFiles, first_boot_commands
from rocks.install.graph.tags import read_node
from tests.unit.install.graph.hosts import context
from tests.unit.install.graph.installers import RELEASES, read_kickstart

MAIN = """<main><install/><text/><lang>en_US.UTF-8</lang><keyboard>us</keyboard>
<timezone>--utc Europe/Berlin</timezone>
<rootpw>--iscrypted $6$salt$hash</rootpw><url>--url=http://10.1.1.1/install/rhel</url>
<network>--bootproto=dhcp --device=eth0
    --hostname=&hostname;</network>
<zerombr/><clearpart>--all --initlabel --drives=sda</clearpart>
<part>/ --size=8000 --grow --ondisk=sda</part><part>swap --size=2000</part>
<bootloader>--location=mbr --append="console=ttyS0"</bootloader><reboot/></main>"""

FILES = FirstBootFiles("#!/bin/sh\n%end\n", "[Service]\nExecStart=/x\n")


def kickstart(body: str, script: str = "echo done\n", **attributes: str) -> str:
    node = read_node("n", "n.xml", f"<kickstart>{body}</kickstart>".encode(), context(**attributes))
    return kickstart_file(Profile("h1", (node,)), 'rocks_say() { echo "$*"; }\n', script, FILES)


@pytest.mark.parametrize("release", RELEASES)
def test_the_lines_of_main_are_commands_and_packages_a_list(release: str) -> None:
    body = (
        MAIN
        + '<package>a</package><package type="meta">Development Tools</package><package disable="1">b</package>'
    )
    found = read_kickstart(kickstart(body), release).handler
    assert found.lang.lang == "en_US.UTF-8"
    assert (found.network.network[0].device, found.network.network[0].hostname) == ("eth0", "h1")
    assert [(one.mountpoint, one.size) for one in found.partition.partitions] == [("/", 8000), ("swap", 2000)]
    assert found.bootloader.appendLine == "console=ttyS0"
    assert (found.packages.packageList, found.packages.excludedList) == (["a"], ["b"])
    assert [group.name for group in found.packages.groupList] == ["Development Tools"]


@pytest.mark.parametrize("release", RELEASES)
def test_the_table_of_commands_is_that_of_the_installers(release: str) -> None:
    known = {
        name
        for name, command in makeVersion(release).commands.items()
        if not isinstance(command, RemovedCommand | DeprecatedCommand)
    }
    assert known >= COMMANDS
    missing = known - COMMANDS
    assert all(name not in makeVersion("RHEL8").commands or name not in makeVersion("RHEL9").commands
               or isinstance(makeVersion("RHEL8").commands[name], DeprecatedCommand | RemovedCommand)
               or isinstance(makeVersion("RHEL9").commands[name], DeprecatedCommand | RemovedCommand)
               for name in missing)  # fmt: skip


@pytest.mark.parametrize("release", RELEASES)
def test_sections_of_the_installer_keep_their_interpreter_and_their_text(release: str) -> None:
    text = kickstart(
        '<pre interpreter="/bin/sh">echo 1</pre><post arg="--nochroot --erroronfail">echo 2</post>'
        '<post interpreter="/usr/bin/python3 -I" arg="--nochroot">print("%end")\n%packages</post>'
        "<post>in script</post>"
    )
    scripts = read_kickstart(text, release).handler.scripts
    assert [(one.interp, one.inChroot, one.errorOnFail) for one in scripts] == [
        ("/bin/sh", False, False),
        ("/bin/bash", False, True),
        ("/bin/bash", False, False),
        ("/bin/sh", True, True),
    ]
    assert [one.script.splitlines()[-1] for one in scripts[:3]] == [
        "echo 1",
        "echo 2",
        '/usr/bin/python3 -I "$section"',
    ]


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=60)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(_TEXT, st.sampled_from(["/usr/bin/cat", "cat -A"]))
def test_any_text_of_a_section_is_executed_as_it_is(text: str, interpreter: str) -> None:
    from xml.sax.saxutils import escape

    body = f'<pre interpreter="{interpreter}">x\n{escape(text)}\n%end\n%include /x\nROCKS-END-1\ny</pre>'
    (script, _) = read_kickstart(kickstart(body), "RHEL9").handler.scripts
    ended = subprocess.run(
        ["/bin/bash"], input=script.script.encode(), capture_output=True, timeout=120, check=True
    )
    expected = subprocess.run(interpreter.split(), input=f"x\n{text}\n%end\n%include /x\nROCKS-END-1\ny\n".encode(),
                              capture_output=True, timeout=120, check=True)  # fmt: skip
    assert ended.stdout == expected.stdout


def test_a_file_of_the_installer_is_written_by_the_functions_of_a_profile() -> None:
    text = kickstart('<pre><file name="/tmp/x">a</file></pre>')
    (script, _) = read_kickstart(text, "RHEL9").handler.scripts
    assert script.script.startswith("# node n\nexport ROCKS_HOST=h1\nROCKS_WORK=$(mktemp -d)\n")
    assert "rocks_file /tmp/x create '' '' keep" in script.script


@pytest.mark.parametrize(
    "script", ["echo 1\n", "cat <<X\n%end\n%packages\nROCKS-END-1\nX\n", "é \\ $x `y`\n"]
)
def test_the_script_arrives_in_the_installed_system(script: str, tmp_path: Path) -> None:
    (last,) = read_kickstart(kickstart("", script), "RHEL9").handler.scripts
    assert (last.interp, last.inChroot, last.logfile) == ("/bin/sh", True, "/var/log/rocks-install.log")
    for commands in (last.script, first_boot_commands(script, FILES, is_packed=True)):
        moved = commands.replace("/var/lib", f"{tmp_path}/var/lib").replace("/etc/", f"{tmp_path}/etc/")
        for _ in range(2):
            subprocess.run(["/bin/sh"], input=moved.encode(), check=True, timeout=120)
        assert (tmp_path / FOLDER.lstrip("/") / "profile").read_text() == script
        wants = tmp_path / "etc/systemd/system/multi-user.target.wants/rocks-first-boot.service"
        assert wants.read_text() == FILES.unit
        program = tmp_path / "etc/rocks/installation/first-boot"
        assert (program.read_text(), program.stat().st_mode & 0o777) == (FILES.program, 0o755)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "\n<main>\n<multipath>x</multipath></main>",
            "n.xml, line 3: the installers of RHEL 8 and 9 have no command",
        ),
        ("<main><pots/></main>", "have no command pots"),
        ("\n<main><lang>'x</lang></main>", "n.xml, line 2: the text of <lang> has an open quote"),
        ("<main><lang>x&#x85;y\u200bz</lang></main>", "the text of <lang> has a control character"),
        ('\n<pre arg="--log=/x">a</pre>', "n.xml, line 2: arg of a section is --nochroot or --erroronfail"),
        ('<post arg="--nochroot \'x">a</post>', "arg of a section is"),
        (
            '<pre interpreter="/bin/x">a<file name="/f"/></pre>',
            "a section of the interpreter /bin/x has a file",
        ),
    ],
)
def test_what_cannot_be_part_of_a_file_is_named(body: str, message: str) -> None:
    with pytest.raises(StateError) as caught:
        kickstart(body)
    assert message in str(caught.value)


def test_a_line_cannot_become_another_command() -> None:
    text = kickstart("<main><lang>en_US\n%pre\nreboot</lang></main>")
    assert "lang en_US %pre reboot" in text.splitlines()
