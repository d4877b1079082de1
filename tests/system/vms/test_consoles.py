"""Consoles, and what listens on a host with running guests: nothing that another user of the host reaches."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.libvirtd import QEMU_OWNER
from lab.listening import Listening, listening_sockets
from lab.namespace import Machine
from rocks.core.process import Finished
from rocks.fleet.wire.requests import nvram_file
from tests.system.vms.site import ThreeMachines, as_user
from tests.waiting import wait_until

NOBODY = "65534"

# What may listen. The lab's own: its SSH server, which replaces the host's.
ALLOWED = (
    ("tcp", r"127\.0\.0\.\d:\d+", "sshd", 0),
    ("unix", r"/run/libvirt/libvirt-(admin-)?sock(-ro)?", "libvirtd", 0),
    ("unix", r"/run/libvirt/virtlogd-(admin-)?sock", "virtlogd", 0),
    ("unix", r"/run/rocks-agent\.sock", "rocks-agent", 0),
    ("unix", r"/run/rocks/ssh/[0-9a-f]+(\.\w+)?", "ssh", 0),
    ("unix", r"/var/lib/libvirt/qemu/domain-\d+-[^/]+/(monitor|vnc)\.sock", "qemu-system-x86", QEMU_OWNER),
    (
        "unix",
        r"/var/lib/libvirt/qemu/channel/target/domain-\d+-[^/]+/org\.qemu\.guest_agent\.0",
        "qemu-system-x86",
        QEMU_OWNER,
    ),
)
DATABASE = ("unix", r".*/mysql\.sock", "mariadbd")
"""On the frontend: open to local users, who may only read (docs/security.md)."""

KNOCK = """
import json, socket, sys
for kind, place in json.load(sys.stdin):
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    with socket.socket(family) as client:
        try:
            client.connect(place if kind == "unix" else (place.rsplit(":")[0], int(place.rsplit(":")[1])))
            print("reached", place)
        except PermissionError:
            print("refused", place)
"""

OPEN_TERMINAL = """
import os, sys
try:
    os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
    print("reached")
except PermissionError:
    print("refused")
"""

SCREEN_OF_THE_SITE = "<graphics type='vnc' port='-1'><listen type='address' address='127.0.0.1'/></graphics>"


def knock(machine: Machine, sockets: list[Listening], user: str) -> dict[str, str]:
    """Place → `reached` or `refused`, for a user of the machine who connects to it."""
    request = json.dumps([(one.kind, one.place) for one in sockets])
    program = [*as_user(user), "/usr/bin/python3", "-c", KNOCK]
    answer = machine.run_checked(program, 30.0, request.encode())
    return {
        place: outcome for outcome, _, place in (line.partition(" ") for line in answer.text.splitlines())
    }


def is_allowed(socket: Listening) -> bool:
    return any(
        (socket.kind, socket.program, socket.user) == (kind, program, user)
        and re.fullmatch(place, socket.place)
        for kind, place, program, user in ALLOWED
    )


@pytest.fixture(scope="module")
def two_guests(three_machines: ThreeMachines) -> Iterator[ThreeMachines]:
    """The site with a guest on a host and one on the frontend, for all tests of this file."""
    for name, host in (("far", "vmh1"), ("near", "head")):
        three_machines.done(f"start host vm {three_machines.add_vm(name, host)}")
    yield three_machines
    three_machines.clean()


@pytest.mark.parametrize(("host", "guest"), [("vmh1", "far"), ("head", "near")])
def test_nothing_listens_that_an_ordinary_user_reaches(
    two_guests: ThreeMachines, host: str, guest: str
) -> None:
    machine = two_guests.machines[host]
    # without those of the tests' fork servers, in the folder that the test makes
    found = {one for one in listening_sockets(machine) if not one.place.startswith(f"{machine.folder}/")}
    database = {one for one in found if one[0] == "unix" and one.program == DATABASE[2]}
    assert sorted(one for one in found - database if not is_allowed(one)) == []
    assert len(database) == (1 if host == "head" else 0)
    of_guest = {one.place.rsplit("/")[-1] for one in found if f"-{guest}/" in one.place}
    assert of_guest == {"monitor.sock", "vnc.sock", "org.qemu.guest_agent.0"}, (
        "a test that finds no socket of the guest proves nothing"
    )

    unix = [one for one in found - database if one.kind == "unix"]
    assert set(knock(machine, unix, NOBODY).values()) == {"refused"}
    screen = [one for one in unix if one.place.endswith("vnc.sock")]
    assert set(knock(machine, screen, "0").values()) == {"reached"}, "root reaches what the others do not"


def test_the_serial_line_is_a_terminal_that_other_users_cannot_open(two_guests: ThreeMachines) -> None:
    machine = two_guests.machines["vmh1"]
    terminal = two_guests.virsh("vmh1", "ttyconsole", "far").text.strip()
    assert terminal.startswith("/dev/pts/")
    for user, expected in ((NOBODY, "refused"), ("0", "reached")):
        program = [*as_user(user), "/usr/bin/python3", "-c", OPEN_TERMINAL, terminal]
        assert machine.run_checked(program, 30.0).text.strip() == expected


VIEWER = """#!/usr/bin/python3
# what a viewer does first: connect, and read the server's greeting
import os, socket, stat, sys
place = sys.argv[-1]
with socket.socket(socket.AF_UNIX) as screen:
    screen.connect(place)
    print(screen.recv(4).decode(), place, *sys.argv[1:-1])
print(*(oct(stat.S_IMODE(os.stat(path).st_mode)) for path in (os.path.dirname(place), place)))
"""


def view(site: ThreeMachines, viewer: Path, line: str) -> Finished:
    """`rocks open host console LINE` with a display and that viewer alone."""
    viewer.write_text(VIEWER)
    viewer.chmod(0o755)
    return site.rocks(
        f"open host console {line} type=vnc", DISPLAY=":7", PATH=f"{viewer.parent}:{os.environ['PATH']}"
    )


def test_a_viewer_gets_a_socket_that_only_root_reaches(two_guests: ThreeMachines, tmp_path: Path) -> None:
    far = view(two_guests, tmp_path / "xtigervncviewer", "far vncflags=-Shared")
    assert far.exit_status == 0, far.error_text
    greeting, modes = far.text.splitlines()
    assert re.fullmatch(r"RFB  /run/rocks-console-\w+/socket -Shared", greeting)
    assert modes == "0o700 0o600"
    assert list(two_guests.machines["head"].outside("/run").glob("rocks-console-*")) == []

    near = view(two_guests, tmp_path / "xtigervncviewer", "near")
    assert near.exit_status == 0, near.error_text
    assert re.match(r"RFB  /var/lib/libvirt/qemu/domain-\d+-near/vnc\.sock", near.text)


def test_without_a_viewer_the_way_to_the_screen_stays_open(two_guests: ThreeMachines) -> None:
    """Until the command ends, in whatever way: then neither its socket answers nor a program of it remains."""
    head = two_guests.machines["head"]
    opened = two_guests.begin("open host console far type=vnc")
    line = opened.first_line()
    path = re.search(r"the screen of far is at (/run/rocks-console-\w+/socket);", line)
    assert path is not None, line
    screen = Listening("unix", path.group(1), "ssh", 0)
    assert knock(head, [screen], "0") == {screen.place: "reached"}
    assert knock(head, [screen], NOBODY) == {screen.place: "refused"}
    assert screen in listening_sockets(head)
    assert {one for one in listening_sockets(head) if one.kind != "unix"} == set()
    opened.kill()
    wait_until(lambda: screen not in listening_sockets(head))


RFB_GREETING = b"RFB 003.008\n"


@pytest.mark.parametrize("guest", ["far", "near"])
def test_a_program_gets_the_bytes_of_the_screen(two_guests: ThreeMachines, guest: str) -> None:
    opened = two_guests.begin(f"open host console {guest} type=vnc stream=yes")
    assert opened.read(len(RFB_GREETING)) == RFB_GREETING
    opened.send(RFB_GREETING)
    assert opened.read(2) == b"\x01\x01", (
        "one kind of authentication: none; the socket's folder keeps others out"
    )
    assert opened.end() == (0, ""), "the end of its input ends it"
    assert [
        one for one in listening_sockets(two_guests.machines["head"]) if "rocks-console" in one.place
    ] == []


@pytest.mark.slow
@pytest.mark.parametrize("guest", ["far", "near"])
def test_a_program_gets_the_serial_line(two_guests: ThreeMachines, guest: str) -> None:
    """Also what is typed before the console is there: virsh discarded it."""
    opened = two_guests.begin(f"open host console {guest} stream=yes")
    opened.send(b"\x1d")
    assert opened.read(2) in (b"", b"\n"), "Ctrl-] ends it, although its input is open; virsh ends its line"
    assert opened.end() == (0, "")


def test_a_stream_ends_with_its_machine(two_guests: ThreeMachines) -> None:
    two_guests.done(f"start host vm {two_guests.add_vm('short', 'vmh1')}")
    screen = two_guests.begin("open host console short type=vnc stream=yes")
    line = two_guests.begin("open host console short stream=yes")
    assert screen.read(len(RFB_GREETING)) == RFB_GREETING
    two_guests.done("stop host vm short")
    assert screen.read(1) == b"", "its output has ended although its input is open"
    assert screen.end() == (0, "")
    assert line.end()[0] in (0, 1)
    refused = two_guests.rocks("open host console short type=vnc stream=yes")
    assert refused.exit_status == 1
    assert "short does not run; start it: rocks start host vm short" in refused.error_text
    assert refused.text == ""


def test_the_bytes_of_a_console_are_not_for_a_terminal(two_guests: ThreeMachines) -> None:
    """And its line is for nothing else."""
    refused = two_guests.rocks("open host console far")
    assert (refused.exit_status, refused.text) == (1, "")
    assert "the serial console needs a terminal (ssh -t); for a program: stream=yes" in refused.error_text
    seen = two_guests.rocks_on_terminal("open host console far stream=yes")
    assert seen.exit_status == 1
    assert "stream=yes relays the bytes of the console over standard input and output" in seen.text
    assert "rocks open host console far" in seen.text


def test_the_message_for_an_ordinary_user_names_the_command(two_guests: ThreeMachines) -> None:
    for kind in ("serial", "vnc"):
        status, error = two_guests.begin(f"open host console far type={kind}", NOBODY).end()
        assert status == 1
        assert "only root reaches the consoles of virtual machines: sudo rocks open host console far" in error


def test_an_open_console_holds_up_no_other_command(two_guests: ThreeMachines) -> None:
    """It held a row of a fence, and the next commands waited 50 s for it."""
    two_guests.done(f"start host vm {two_guests.add_vm('busy', 'vmh1')}")
    two_guests.sql("INSERT INTO vm_fences (Host, Name, Token) VALUES ('vmh1', 'other', 3)")
    opened = two_guests.begin("open host console busy type=vnc")
    assert "the screen of busy" in opened.first_line()
    assert two_guests.sql("SELECT trx_id FROM information_schema.innodb_trx") == []
    assert "active" in two_guests.done("list host vm busy status=yes")
    two_guests.done("stop host vm busy")
    opened.kill()


def test_a_guest_that_listens_is_named(two_guests: ThreeMachines) -> None:
    """A site's own XML has a screen on the loopback; no console leads to it."""
    two_guests.done(f"start host vm {two_guests.add_vm('old', 'vmh1')}")
    xml = two_guests.virsh("vmh1", "dumpxml", "old").text
    two_guests.virsh("vmh1", "destroy", "old")
    old = re.sub(r"<graphics.*?</graphics>", SCREEN_OF_THE_SITE, xml, flags=re.DOTALL)
    two_guests.machines["vmh1"].run_checked(["/usr/bin/virsh", "create", "/dev/stdin"], 30.0, old.encode())
    warning = "old listens on vmh1 (vnc 127.0.0.1 port 5900), where every user of vmh1 reaches it"
    listed = two_guests.rocks("list host vm old status=yes")
    assert warning in listed.error_text and "active" in listed.text
    assert two_guests.rocks("list host vm far status=yes").error_text == ""
    refused = two_guests.refused("open host console old type=vnc")
    assert "old has no VNC screen on a unix socket; use its serial console" in refused


def test_a_machine_that_is_off_has_the_command_that_starts_it(two_guests: ThreeMachines) -> None:
    """Nothing is printed about a console that does not open."""
    two_guests.add_vm("off", "vmh1")
    for kind in ("serial", "vnc"):
        ended = two_guests.rocks(f"open host console off type={kind}")
        assert ended.exit_status == 1
        assert ended.error_text.strip() == "Error: off does not run; start it: rocks start host vm off"


def console_log(site: ThreeMachines, name: str, host: str = "vmh1") -> Path:
    """The log of the machine's console on the host."""
    ((uuid,),) = site.sql(
        f"SELECT v.UUID FROM vm_nodes v JOIN nodes n ON n.ID = v.Node WHERE n.Name = '{name}'"
    )
    return site.machines[host].outside(f"/var/log/libvirt/qemu/{uuid}.console.log")


@pytest.mark.parametrize(("host", "guest"), [("vmh1", "far"), ("head", "near")])
def test_the_screen_of_a_guest_is_a_picture_for_root(
    two_guests: ThreeMachines, host: str, guest: str
) -> None:
    file = two_guests.machines["head"].outside("/var/opt/rocks/screen.png")
    two_guests.done(f"report host vm screen {guest} file=/var/opt/rocks/screen.png")
    picture = file.read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n" and picture[12:16] == b"IHDR"
    width, height = (int.from_bytes(picture[place : place + 4]) for place in (16, 20))
    assert 320 <= width <= 8192 and 200 <= height <= 8192
    assert file.stat().st_mode & 0o777 == 0o600
    file.unlink()


def test_a_picture_that_cannot_be_taken_leaves_no_file(two_guests: ThreeMachines) -> None:
    two_guests.add_vm("dark", "vmh1")
    for line, text in (
        ("dark file=/var/opt/rocks/x.png", "dark does not run; start it: rocks start host vm dark"),
        ("far file=/var/opt/rocks", "is a folder"),
        ("far file=/absent/x.png", "cannot write /absent/x.png"),
        ("nobody file=/x.png", "nobody"),
    ):
        assert text in two_guests.refused(f"report host vm screen {line}")
    assert not two_guests.machines["head"].outside("/var/opt/rocks/x.png").exists()


def test_the_last_lines_of_a_console_are_read_after_the_guests_end(site: ThreeMachines) -> None:
    """The host keeps them in files of a bounded size; what a guest has written reaches the terminal as text."""
    site.add_vm("one", "vmh1")
    assert "it never ran there" in site.rocks("report host vm console one").error_text
    site.done("start host vm one")
    log = console_log(site, "one")
    assert log.exists(), "virtlogd writes to another file"
    log.with_name(f"{log.name}.0").write_text("".join(f"earlier {number}\r\n" for number in range(200)))
    with log.open("a") as file:
        file.write(
            "\x1b[2J\x1b[1;31mKernel panic\x1b[0m - not syncing\r\n\x1b]0;title\x07\x1b[6nend \x07\xff"
        )
    two = site.done("report host vm console one lines=2").splitlines()
    assert two == ["Kernel panic - not syncing", "end \\x07\xff"]
    site.virsh("vmh1", "destroy", "one")
    site.virsh("vmh1", "undefine", "one")
    lines = site.done("report host vm console one").splitlines()
    assert len(lines) == 100 and (lines[0], lines[-3], lines[-2:]) == ("earlier 102", "earlier 199", two)
    for text in ("0", "10001", "many"):
        assert "lines" in site.refused(f"report host vm console one lines={text}")
    log.unlink()
    log.symlink_to("/etc/passwd")
    assert "cannot be read" in site.refused("report host vm console one")
    log.unlink()
    log.with_name(f"{log.name}.0").unlink()


def test_a_machine_does_not_get_the_console_of_a_namesake(site: ThreeMachines) -> None:
    site.started("one", "vmh1")
    log = console_log(site, "one")
    log.write_text("the former owner's secret\n")
    assert site.done("report host vm console one") == "the former owner's secret\n"
    named = log.with_name("one.console.log")
    assert str(named.readlink()) == log.name
    log.with_name(f"{log.name}.0").write_text("older\n")
    other = log.with_name("00000000-0000-4000-8000-000000000000.console.log")
    other.write_text("of another machine\n")
    variables = site.machines["vmh1"].outside(nvram_file(log.name.partition(".")[0]))
    variables.parent.mkdir(parents=True, exist_ok=True)
    variables.write_text("as of a machine with UEFI, which a stop leaves\n")
    site.done("stop host vm one")
    assert variables.exists()
    site.done("remove host vm one")
    assert not variables.exists()
    assert not log.exists() and not log.with_name(f"{log.name}.0").exists() and not named.is_symlink()
    assert other.read_text() == "of another machine\n", "logs of other machines stay"
    other.unlink()
    site.done("remove host one")
    site.rocks("remove host image vmh1 /var/lib/rocks-images/one.vda")
    site.add_vm("one", "vmh1")
    assert "it never ran there" in site.rocks("report host vm console one").error_text
    site.done("start host vm one")
    assert str(named.readlink()) == console_log(site, "one").name != log.name
