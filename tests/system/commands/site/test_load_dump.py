"""`rocks load dump`: a Rocks 6.2 or 7 frontend moves in; its operator's day, as docs/guide/rocks-users.md prints it."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from rocks.core.process import run
from rocks.fleet.connection import FleetSettings
from rocks.site import creation as site_creation
from tests.rocks_dump import LAUNCHER, NOT_TAKEN, ROOT_PASSWORD, rocks, rocks_dump, unusual
from tests.system.commands.conftest import Ended, Site

ANSWERS = """\
Kickstart_PrivateHostname = head
Kickstart_PrivateInterface = eth0
Kickstart_PrivateAddress = 10.1.1.1
Kickstart_PrivateNetmask = 255.255.0.0
Kickstart_PublicInterface = eth1
Kickstart_PublicAddress = 203.0.113.2
Kickstart_PublicNetmask = 255.255.255.0
Kickstart_PublicGateway = 203.0.113.1
"""

AUDIT_ENTRIES = "SELECT COUNT(*) FROM sec_audit"


@pytest.fixture
def frontend(site: Site, tmp_path: Path) -> Site:
    """A new frontend: its answers are entered, nothing else."""
    settings = FleetSettings(str(tmp_path / "ssh/id_ed25519"), str(tmp_path / "ssh/known_hosts"))
    site.patch.setattr(site_creation, "FleetSettings", lambda: settings)
    empty(site)
    (tmp_path / "answers").write_text(ANSWERS)
    ended = site.rocks("create site", f"answers={tmp_path / 'answers'}")
    assert ended.status == 0, ended
    return site


def empty(site: Site) -> None:
    for table in ("networks", "nodes", "subnets"):
        site.change(f"DELETE FROM {table}")


@pytest.fixture
def load(frontend: Site, tmp_path: Path) -> Callable[..., Ended]:
    """Load this text as a dump."""

    def run_it(text: str, *parameters: str) -> Ended:
        file = tmp_path / "site.dump"
        file.write_text(text)
        return frontend.rocks("load dump", str(file), *parameters)

    return run_it


def left_out(ended: Ended) -> dict[str, str]:
    """The table: the number of each line that was not taken over → the rest of its row."""
    rows = ended.out.splitlines()[1:]
    return {row.partition(":")[0]: row.partition(":")[2].strip() for row in rows}


def usual(text: str, *beginnings: str) -> set[str]:
    """The numbers of the lines that begin so, after the program."""
    return {
        str(number)
        for number, line in enumerate(text.splitlines(), 1)
        if line.removeprefix(f"{LAUNCHER} ").startswith(beginnings)
    }


@pytest.mark.slow
@pytest.mark.parametrize("release", [6, 7])
def test_a_rocks_site_moves_in(
    frontend: Site, load: Callable[..., Ended], release: int, tmp_path: Path
) -> None:
    """40 hosts and 5 virtual machines; a second time nothing is left to do, and nothing changes."""
    text = rocks_dump(release, 33)
    lines = text + "\n".join(unusual(str(tmp_path / "trace"))) + "\n"
    before, entries = frontend.contents(), frontend.database.rows(AUDIT_ENTRIES)
    tried = load(lines, "dry-run=yes")
    assert (frontend.contents(), frontend.database.rows(AUDIT_ENTRIES)) == (before, entries)
    loaded = load(lines)
    assert (loaded.status, left_out(loaded)) == (3, left_out(tried))
    expected = usual(
        lines,
        "add attr Kickstart_PrivateRootPassword",
        "add attr rocks_version",
        "add host attr compute-0-1 ipmi_password",
        "add host roll fe-blue kvm",
        "add host key fe-blue",
    )
    last = len(lines.splitlines())
    assert set(left_out(loaded)) == expected | {str(last - place) for place in range(NOT_TAKEN)}
    assert ROOT_PASSWORD not in loaded.out + loaded.err and "calvin" not in loaded.out + loaded.err
    assert not (tmp_path / "trace").exists()

    assert len(frontend.done("list host output-header=no").splitlines()) == 1 + 40 + 5
    assert frontend.done("report host attr compute-0-0 attr=site_note") == ('it\'s "odd"; $(id) `id` a=b\n')
    assert frontend.done("report host attr compute-0-0 attr=cpu_mode") == "host-model\n"
    assert "fe-blue:" in frontend.done("list cluster") and "hosted-vm-0-3-0" in frontend.done("list cluster")
    assert frontend.done("list host vm fe-blue showdisks=yes").count("/state/partition1/kvm/disks/") == 2
    assert "A41-DB" in frontend.done("list host firewall compute-0-0")
    assert "192.168.7.0" in frontend.done("list host route compute-0-0")

    after = frontend.contents()
    again = load(lines)
    assert left_out(again) == left_out(loaded) and again.err.startswith("0 lines taken over, ")
    assert frontend.contents() == after

    assert "rocks set host attr fe-blue airboss_old_rsa true" in loaded.out, "its owner's key has 1024 bits"
    frontend.done("set host attr fe-blue airboss_old_rsa true")
    assert "1 line taken over, " in load(lines).err
    assert "BEGIN PUBLIC KEY" in frontend.done("list host key fe-blue")


def test_a_file_of_another_system_and_lines_that_stand_twice(
    frontend: Site, load: Callable[..., Ended]
) -> None:
    text = "\n".join(
        [
            rocks("add attr note x"),
            rocks("add attr note x"),
            rocks("add attr note y"),
            rocks("add attr ib_opensm_reload /tmp/reboot"),
            rocks("add host compute-0-0 rack=0 rank=0"),
            rocks("set host runaction compute-0-0 action=os"),
            rocks("set host runaction compute-0-0 action=memtest"),
            "",
        ]
    )
    loaded = load(text.replace("\n", "\r\n"))
    reasons = left_out(loaded)
    assert (loaded.status, sorted(reasons)) == (3, ["2", "3", "4", "7"]), loaded.out + loaded.err
    assert reasons["2"].endswith("it is the same as line 1")
    assert "line 1 states the same with another value" in reasons["3"]
    assert "line 6 states the same with another action" in reasons["7"]
    assert "runs as root" in reasons["4"]
    assert frontend.done("report host attr compute-0-0 attr=note") == "x\n"
    assert frontend.database.rows("SELECT RunAction FROM nodes WHERE Name = 'compute-0-0'") == [("os",)]


def test_what_cannot_be_a_dump_changes_nothing(frontend: Site, tmp_path: Path) -> None:
    line = rocks("add attr note x")
    for name, data in (
        ("cut", f"{line}\n{rocks('add attr b')} 'cut o\n".encode()),
        ("half", f"{line}\n{rocks('add attr b')} val".encode()),
        ("zero", f"{line}\n\0".encode()),
        ("latin", f"{line}\n# Gr\xfc\xdfe\n".encode("latin-1")),
        ("other", b"#!/bin/sh\ntouch /nowhere\n"),
        ("empty", b""),
    ):
        (tmp_path / name).write_bytes(data)
        frontend.refused("load dump", str(tmp_path / name))
    error = frontend.refused("load dump", str(tmp_path / "other"))
    assert "the file has no line of a dump: on the old frontend, rocks dump > FILE" in error
    error = frontend.refused("load dump", str(tmp_path / "half"))
    assert f"the last line of {tmp_path / 'half'} has no end: the file is cut off; copy it again" in error
    frontend.refused("load dump", str(tmp_path / "absent"))
    frontend.refused("load dump", str(tmp_path))
    frontend.refused("load dump /dev/zero")
    frontend.refused("load dump")


def test_a_machine_that_is_no_frontend_takes_no_dump(site: Site, tmp_path: Path) -> None:
    empty(site)
    (tmp_path / "dump").write_text(rocks("add attr note x") + "\n")
    assert "rocks create site" in site.refused("load dump", str(tmp_path / "dump"))


def test_a_line_that_fails_halfway_leaves_no_trace(frontend: Site, load: Callable[..., Ended]) -> None:
    """The lines before and after it are taken over; a host without its line is not looked for."""
    ended = load(
        "\n".join(
            (
                rocks("add attr first 1"),
                rocks("add host interface head eth2 ip=999.1.1.1"),
                rocks("set host interface ip gone-0-0 eth0 10.1.0.9"),
                rocks("set host boot localhost action=install"),
                rocks("add attr last 1"),
                "",
            )
        )
    )
    assert set(left_out(ended)) == {"2", "3", "4"}
    assert "gone-0-0 is not here" in left_out(ended)["3"]
    assert "eth2" not in frontend.done("list host interface head")
    assert {"first:", "last:"} <= set(frontend.done("list attr").split())


@pytest.mark.slow
def test_what_was_changed_since_the_dump_stays(frontend: Site, load: Callable[..., Ended]) -> None:
    """Memory, MAC address, VLAN and boot action; each is listed with both values. What was removed comes back."""
    load(rocks_dump(7, 3))
    dump = frontend.done("dump")
    machine, boots = "hosted-vm-0-0-0", "compute-0-0"
    frontend.done(f"set host vm {machine} mem=3000")
    frontend.done(f"set host interface mac {machine} eth0 02:00:00:00:00:77")
    assert "leaves the cluster" in frontend.rocks(f"set host interface vlan {machine} eth0 77").err
    frontend.done(f"set host boot {boots} action=install")
    frontend.done("remove host compute-0-1")
    changed = frontend.done(f"dump host vm {machine}")
    loaded = load(dump)
    reasons = left_out(loaded).values()
    assert loaded.status == 3
    for text in (
        "mem is 3000 here and",
        "mac is 02:00:00:00:00:77 here and",
        "vlan is 77 here and",
        "action is install here and os in the dump: what is here stays; type the command if it is meant",
    ):
        assert any(text in reason for reason in reasons), (text, loaded.out)
    assert frontend.done(f"dump host vm {machine}") == changed
    assert "02:00:00:00:00:77" in frontend.done(f"list host interface {machine}")
    assert frontend.done(f"list host boot {boots} output-header=no").split()[-1] == "install"
    assert "Compute" in frontend.done("list host compute-0-1")


@pytest.mark.slow
def test_a_host_that_differs_in_a_column_stays(frontend: Site, load: Callable[..., Ended]) -> None:
    """It was taken for another host that has its address: the remedy was to give it the name that it has."""
    load(rocks_dump(7, 3))
    dump = frontend.done("dump")
    frontend.done("set host cpus compute-0-0 16")
    frontend.done("set host rank compute-0-1 5")
    contents = frontend.contents()
    reasons = left_out(load(dump))
    stays = "what is here stays; type the command if it is meant"
    for name, text in (
        ("compute-0-0", "cpus is 16 here and"),
        ("compute-0-1", "rank is 5 here and 1 in the dump"),
    ):
        (found,) = [row for row in reasons.values() if row.startswith(f"add host {name} ")]
        assert text in found and found.endswith(f"in the dump: {stays}"), found
    assert len(reasons) == 2 and frontend.contents() == contents


@pytest.mark.slow
def test_what_a_new_frontend_has_gets_the_values_of_the_dump(
    frontend: Site, load: Callable[..., Ended]
) -> None:
    """Nobody changed it since the dump; other processors are those of another machine."""
    machine = "set host vm compute-0-0 physnode=localhost mem=1024 virt-type='None'"
    lines = (
        'rocks list host head >/dev/null 2>&1 || rocks "add host" head cpus=99 rack=0 rank=0 membership=Frontend',
        "rocks set host runaction head action=none",
        "rocks set host installaction localhost action='install vm frontend'",
        "rocks set host interface name head eth1 head-public",
        "rocks set host boot head action=os",
        rocks("add host compute-0-0 rack=0 rank=0 membership=Compute"),
        f"rocks {machine}",
    )
    loaded = load("\n".join(lines) + "\n")
    assert (loaded.status, loaded.out) == (0, ""), loaded.out
    assert [line for line in loaded.err.splitlines() if line.startswith("line ")] == [
        "line 2: runaction of localhost was os, as in every new database, and gets none",
        "line 3: installaction of localhost was install, as in every new database, and gets install vm frontend",
        "line 4: name of localhost eth1 was head, as in every new database, and gets head-public",
    ]
    assert "head-public" in frontend.done("list host interface head")
    again = load("\n".join(lines) + "\n")
    assert (again.status, again.err) == (0, f"0 lines taken over, {len(lines)} are so already, 0 left out\n")
    frontend.done("set host interface name head eth1 head-www")
    later = load("\n".join(lines) + "\n")
    assert later.status == 3 and "name is head-www here and head-public in the dump" in later.out


def test_a_machine_that_was_renamed_does_not_come_back_as_half_a_host(
    frontend: Site, load: Callable[..., Ended]
) -> None:
    load(rocks_dump(7, 3))
    dump = frontend.done("dump")
    for names in ("hosted-vm-0-0-0 web", "compute-0-1 spare-0-0"):
        assert frontend.rocks(f"set host name {names}").status == 0
    contents = frontend.contents()
    loaded = load(dump)
    assert loaded.status == 3 and frontend.contents() == contents
    for owner, name in (("web", "hosted-vm-0-0-0"), ("spare-0-0", "compute-0-1")):
        assert any(row.startswith(f"add host {name} ") for row in left_out(loaded).values()), loaded.out
        assert (
            f"if it was renamed since the dump, rocks set host name {owner} {name}, else give" in loaded.out
        )
        assert f"the host {name} is not here: it was not taken over" in loaded.out
        assert frontend.rocks(f"set host name {owner} {name}").status == 0
    assert load(dump).status == 0


def test_a_secret_among_the_kernels_arguments_is_not_printed(
    frontend: Site, load: Callable[..., Ended]
) -> None:
    frontend.done("set host bootflags head flags='quiet inst.vncpassword=geheim1'")
    loaded = load("rocks set host bootflags head flags='quiet inst.vncpassword=geheim2'\n")
    assert loaded.status == 3 and "geheim" not in loaded.out + loaded.err
    assert "flags is quiet inst.vncpassword=*** here and" in loaded.out


def test_a_name_that_is_nearly_a_known_one_is_taken_over(frontend: Site, load: Callable[..., Ended]) -> None:
    """It was accepted where the dump is from, by an earlier release or with force=yes."""
    lines = "rocks add attr vm_fliter off\nrocks add attr vm_imag a force=yes\n"
    loaded = load(lines)
    assert (loaded.status, left_out(loaded)) == (0, {}), loaded
    assert {"vm_fliter", "vm_imag"} <= {
        str(name) for (name,) in frontend.database.rows("SELECT Attr FROM attributes")
    }
    contents = frontend.contents()
    assert (load(lines).status, frontend.contents()) == (0, contents)


PAGE = Path(__file__).resolve().parents[4] / "docs/guide/rocks-users.md"
BLOCK = re.compile(r"```\n(# .*?)```", re.DOTALL)
"""Commands with what they print; a block of commands alone is marked `sh`."""
CHANGING = re.compile(r"\d{8}T\d{6}|\d{4}-\d\d-\d\dT[\d:+]+")
"""Moments, in names of copies and in messages."""


def commands_of(block: str) -> list[str]:
    return [line[2:] for line in block.splitlines() if line.startswith("# ")]


def printed(site: Site, line: str, folder: str) -> str:
    """What a typed line prints, in the machine of the page."""
    typed, _, pipe = line.partition(" | ")
    ended = site.rocks(*shlex.split(typed.replace("/root/", f"{folder}/"))[1:])
    # a restore says what stays before it begins
    text = ended.err + ended.out if typed.startswith("rocks restore") else ended.out + ended.err
    if pipe:
        text = run(shlex.split(pipe), deadline_seconds=60, standard_input=text.encode()).text
    return CHANGING.sub(
        "…", text.replace(f"{folder}/", "/root/").replace("/root/backup", "/var/lib/rocks/backup")
    )


@pytest.mark.slow
def test_the_page_prints_what_it_shows(frontend: Site, tmp_path: Path, silent_hosts: None) -> None:
    frontend.patch.setenv("ROCKS_SITE_FOLDER", str(tmp_path / "etc"))
    frontend.patch.setenv("ROCKS_BACKUP_FOLDER", str(tmp_path / "backup"))
    frontend.patch.setenv("ROCKS_LAUNCHER", "/opt/rocks/bin/rocks")
    (tmp_path / "etc").mkdir()
    other_rolls = unusual("/nowhere")[4:6]
    (tmp_path / "site.dump").write_text(rocks_dump(6, 2, 1) + "\n".join(other_rolls) + "\n")
    (tmp_path / "passphrase").write_text("not to be guessed easily\n")
    (tmp_path / "passphrase").chmod(0o600)

    blocks = BLOCK.findall(PAGE.read_text("utf-8"))
    assert len(blocks) == 5
    for block in blocks:
        lines = (f"# {line}\n{printed(frontend, line, str(tmp_path))}" for line in commands_of(block))
        assert "".join(lines) == block
