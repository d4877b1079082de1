"""Profiles run for real by bash: what they make, that a second run changes nothing, and how they fail."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rocks.core.process import run
from rocks.install.graph.profile import Profile
from rocks.install.graph.shell import files_text, shell_script
from rocks.install.graph.tags import read_node
from rocks.install.graph_files import Library, shell_functions
from rocks.install.host_profiles import write_profile
from rocks.network.host_network_files import network_files, removal_text
from rocks.network.host_network_plan import HostDevice
from tests.golden.profile.cases import CASES
from tests.system.graph.machine import Machine
from tests.unit.install.graph.hosts import context

NOTHING = "h1: profile ends: no changes"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine on which nothing has been done."""
    if os.geteuid() != 0:
        pytest.skip("a profile is run in a mount namespace of its own, which needs root")
    return Machine(tmp_path)


def script(body: str, **attributes: str) -> str:
    """The profile of a host that is one node."""
    data = f"<kickstart>{body}</kickstart>".encode()
    node = read_node("n", "n.xml", data, context(**attributes))
    return shell_script(Profile("h1", (node,)), shell_functions(), "deb")


def changes(output: str) -> list[str]:
    """What a profile reports as changed."""
    return [line.partition("changed: ")[2] for line in output.splitlines() if "changed: " in line]


def test_files_in_every_mode_and_nothing_to_do_the_second_time(machine: Machine) -> None:
    machine.path("/etc/kept.conf").write_text("old\n")
    machine.path("/etc/grown.conf").write_text("first")
    machine.path("/etc/filtered.conf").write_text("b\na\n")
    machine.path("/etc/source").write_text("2\n1\n")
    machine.path("/etc/loose").write_text("x\n")
    machine.path("/etc/loose").chmod(0o666)
    text = script(
        "<post>umask 077\n"
        '<file name="/etc/kept.conf">it\'s "$HOME" `x` \\ &lt;&amp; &value;\n  indented\n</file>'
        '<file name="/etc/new/secret" perms="0600" owner="nobody.root">s</file>'
        '<file name="/etc/grown.conf" mode="append">second\nthird</file>'
        '<file name="/etc/filtered.conf" mode="pipe">sort</file>'
        '<file name="/etc/sorted" mode="pipe" src="/etc/source">sort</file>'
        '<file name="/etc/calculated" expr="echo $((40 + 2))"/>'
        '<file name="/etc/expanded" vars="expanded">$ROCKS_HOST $(echo $((1+1)))</file>'
        '<file name="/etc/continued" vars="expanded">a \\</file>'
        '<file name="/etc/backslash" vars="expanded">a \\\\</file>'
        '<file name="/etc/loose" perms="640"/>'
        '<file name="/etc/empty"/>'
        "</post>",
        value="any'thing",
    )
    first = machine.done(text)
    contents = {path.name: path.read_text() for path in machine.path("/etc").glob("*") if path.is_file()}

    assert contents["kept.conf"] == "it's \"$HOME\" `x` \\ <& any'thing\n  indented\n"
    assert contents["grown.conf"] == "first\nsecond\nthird\n"
    assert contents["filtered.conf"] == "a\nb\n"
    assert contents["sorted"] == "1\n2\n"
    assert contents["calculated"] == "42\n"
    assert contents["expanded"] == "h1 2\n"
    assert (contents["continued"], contents["backslash"]) == ("a \n", "a \\\n")
    assert contents["empty"] == ""
    assert machine.path("/etc/loose").stat().st_mode & 0o777 == 0o640
    secret = machine.path("/etc/new/secret").stat()
    assert (secret.st_mode & 0o777, secret.st_uid) == (0o600, 65534)
    assert machine.path("/etc/sorted").stat().st_mode & 0o777 == 0o644
    assert machine.path("/var/lib/rocks/originals/etc/kept.conf").read_text() == "old\n"
    assert len(changes(first)) == 11
    assert "h1: profile ends: changes: 11" in first

    before = {path: path.stat().st_ctime_ns for path in machine.path("/etc").rglob("*")}
    assert NOTHING in machine.done(text)
    assert {path: path.stat().st_ctime_ns for path in machine.path("/etc").rglob("*")} == before


def test_the_original_is_saved_once_and_a_link_is_followed(machine: Machine) -> None:
    machine.path("/etc/real").write_text("1\n")
    machine.path("/etc/link").symlink_to("real")
    for number in (2, 3):
        machine.done(script(f'<file name="/etc/link">{number}</file><file name="/etc/new">{number}</file>'))
    assert machine.path("/etc/link").is_symlink()
    assert machine.path("/etc/real").read_text() == "3\n"
    assert machine.path("/var/lib/rocks/originals/etc/real").read_text() == "1\n"
    assert not machine.path("/var/lib/rocks/originals/etc/new").exists()


def test_only_missing_packages_are_installed_and_none_needs_no_mirror(machine: Machine) -> None:
    machine.install("a", "c.d")
    (machine.folder / "stubs/no-mirror").touch()
    assert NOTHING in machine.done(script("<package>a</package><package>c.d</package>"))
    assert machine.calls("apt") == []

    refused = machine.run(script("<package>a</package><package>b</package>"))
    assert refused.exit_status == 1
    assert "apt-get did not install b, nor fetch all lists of packages" in refused.error_text

    (machine.folder / "stubs/no-mirror").unlink()
    text = script("<package>b</package><package>a</package>")
    assert changes(machine.done(text)) == ["packages installed: b"]
    assert machine.calls("apt")[-1].endswith("install -- b")
    assert NOTHING in machine.done(text)


def test_sections_run_in_their_interpreters_and_read_nothing_of_the_script(machine: Machine) -> None:
    output = machine.done(
        script(
            '<post interpreter="/usr/bin/python3 -I">import sys; print("python", sys.stdin.read())</post>'
            "<post>cat; echo bash $BASH_VERSION</post><boot>echo first</boot>"
        )
    )
    assert [line.split()[0] for line in output.splitlines() if not line.startswith("h1:")] == [
        "first",
        "python",
        "bash",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("<post>echo a; false; echo b</post>", "the post section of node n ended with exit status 1"),
        ("<post>false | cat</post>", "ended with exit status 1"),
        ('<post interpreter="python3">exit(7)</post>', "the post section of node n ended with exit status 7"),
        ('<post interpreter="no-such-program">x</post>', "node n needs the program no-such-program"),
        ('<file name="/etc">x</file>', "/etc is a folder, and the profile has a file there"),
        ('<file name="/etc/x" expr="false"/>', "ended with exit status"),
        ('<file name="/etc/x" mode="pipe">exit 3</file>', "ended with exit status 3"),
        ('<file name="/etc/x" owner="no_such_user">x</file>', "invalid user"),
    ],
)
def test_a_section_that_fails_ends_the_profile(machine: Machine, body: str, message: str) -> None:
    ended = machine.run(script(f'{body}<post>echo "never reached"</post>'))
    assert ended.exit_status == 1
    assert message in ended.error_text
    assert "never reached" not in ended.text
    assert [path.name for path in machine.path("/etc").iterdir() if "x" in path.name] == []


def test_a_script_that_did_not_arrive_whole_does_nothing(machine: Machine) -> None:
    text = script('<file name="/etc/x">x</file>')
    for end in (len(text) // 2, text.rindex("rocks_profile")):
        machine.run(text[:end])
        assert not machine.path("/etc/x").exists()


def test_two_profiles_at_once_are_refused(machine: Machine) -> None:
    machine.path("/etc/inner").write_text(script('<file name="/etc/x">x</file>'))
    output = machine.done(script("<post>bash /etc/inner 2&gt;&amp;1 9&gt;&amp;- || echo refused</post>"))
    assert "another profile is being run on this machine" in output
    assert "refused" in output
    assert not machine.path("/etc/x").exists()


def test_no_user_of_the_host_can_hold_a_profile_up_or_have_it_empty_a_file(machine: Machine) -> None:
    """Every user can make files in /run/lock."""
    machine.path("/etc/of-root").write_text("root's")
    machine.path("/run/lock/rocks-profile").symlink_to("/etc/of-root")
    held = "flock -n /run/lock/rocks-profile bash -s <<'WHILE-HELD'\n%s\nWHILE-HELD\n"
    machine.done(held % script('<file name="/etc/x">x</file>'))
    assert machine.path("/etc/x").exists()
    assert machine.path("/etc/of-root").read_text() == "root's"


def test_units_are_enabled_started_and_restarted_for_newer_files(machine: Machine) -> None:
    text = script("<post>rocks_service a.service /etc/a.conf</post>")
    assert changes(machine.done(text)) == ["unit a.service enabled", "unit a.service started"]
    assert NOTHING in machine.done(text)

    os.utime(machine.folder / "stubs/units/a.service.active", (0, 0))  # it was started long ago
    machine.path("/etc/a.conf").write_text("by hand\n")
    assert changes(machine.done(text)) == ["unit a.service restarted, for /etc/a.conf is newer"]
    assert NOTHING in machine.done(text)

    (machine.folder / "stubs/units/b.service.broken").touch()
    ended = machine.run(script("<post>rocks_service b.service</post>"))
    assert ended.exit_status == 1
    assert "b.service does not start: journalctl -u b.service says why" in ended.error_text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nas", "vm_host", "vm_host_with_copies", "frontend"])
def test_our_own_nodes_change_nothing_the_second_time(machine: Machine, name: str) -> None:
    """The host's programs and certificate are there; systemctl, modprobe and the kernel's folder of modules are stubs.

    Debian's package of ZFS starts this unit before the modules are there.
    """
    (machine.folder / "stubs/units/zfs-load-module.service.failed").touch()
    for program in ("rocks-imgstorage-nas", "rocks-imgstorage-host", "rocks-libvirt-hook"):
        path = machine.path(f"/opt/rocks/libexec/{program}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o755)
    certificate = machine.path("/etc/rocks/pki/node.pem")
    certificate.parent.mkdir(parents=True)
    certificate.write_text("a key\n")
    text = write_profile(CASES[name], Library()).replace('"/sys/module/', '"$STUBS/modules/')
    (machine.folder / "stubs/modules").mkdir()
    stub = machine.path("/usr/local/sbin/modprobe")
    stub.write_text('#!/bin/bash\nfor name; do mkdir -p "$STUBS/modules/$name"; done\n')

    first = machine.done(text)
    assert ("unit zfs-load-module.service started" in first) == ("node zfs begins" in first)
    assert "permissions of /etc/rocks/pki/node.pem" in first
    assert certificate.stat().st_mode & 0o777 == 0o600
    assert machine.path("/etc/imgstorage.conf").read_text().startswith('[{"name": ')
    assert machine.huge_pages.read_text() == ("1024\n" if name == "vm_host" else "0\n")
    again = machine.done(text)
    assert "profile ends: no changes" in again, again


@pytest.mark.slow
def test_network_devices_are_set_up_where_their_service_is_in_use_and_wait_for_the_next_boot(
    machine: Machine,
) -> None:
    """A device that is no bridge any more loses its files; the operator is reminded until the machine is restarted."""
    site = CASES["vm_host"]
    text = write_profile(site, Library())
    machine.done(text)
    link = machine.path("/etc/systemd/network/10-peth0.link")
    assert not link.exists(), "systemd-networkd is not enabled"

    (machine.folder / "stubs/units/systemd-networkd.service.enabled").touch()
    first = machine.done(text)
    assert "changed: file /etc/systemd/network/10-eth0.netdev" in first
    second = machine.done(text)
    assert not changes(second)
    reminder = "the network devices of vmc-0-0 take effect at the next boot: systemctl reboot"
    assert reminder in first and reminder in second

    alone = replace(site.host.interfaces[0], options="novtap")
    machine.done(write_profile(replace(site, host=replace(site.host, interfaces=(alone,))), Library()))
    assert sorted(path.name for path in link.parent.iterdir()) == ["10-eth0.link", "10-eth0.network"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("packaging", "folder", "own"),
    [
        ("deb", "/etc/systemd/network", "10-eth9.network"),
        ("rpm", "/etc/NetworkManager/system-connections", "eth9.nmconnection"),
    ],
)
def test_a_device_that_is_renamed_or_removed_leaves_no_file(
    machine: Machine, packaging: str, folder: str, own: str
) -> None:
    """Files that no profile wrote stay, whatever their device."""

    def run_with(*devices: HostDevice) -> set[str]:
        files = [(path, text, "600") for path, text in network_files(devices, packaging).items()]
        text = f"{files_text(files)}\n{removal_text(devices, packaging)}"
        machine.done(script("<post>&network_script;</post>", network_script=text))
        return {str(path) for path in network_files(devices, packaging)}

    one = HostDevice("eth0", "52:54:00:00:00:01", "", "10.1.0.2/16", "", 1500)
    other = HostDevice("peth1", "52:54:00:00:00:02", "eth1", "10.2.0.2/16", "", 1500)
    mine = machine.path(folder) / own
    mine.parent.mkdir(parents=True)
    mine.write_text("[Match]\nName=eth9\n")
    for devices in ((one, other), (one, other._replace(adapter="peth2", bridge="eth2")), (one,)):
        expected = run_with(*devices)
        places = [*machine.path("/etc").rglob("*eth*.*"), *machine.path("/etc").rglob("rocks-bridges.conf")]
        found = {f"/{path.relative_to(machine.folder)}" for path in places}
        assert found == {*expected, f"{folder}/{own}"}


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[list[str]]:
    """Two empty disks of 8 MiB."""
    found = []
    for name in ("one", "two"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(8 << 20)
        made = run(["losetup", "--find", "--show", str(tmp_path / name)], deadline_seconds=20)
        if made.exit_status != 0:
            pytest.skip(f"no loop device: {made.error_text}")
        found.append(made.text.strip())
    yield found
    for disk in found:
        run(["losetup", "--detach", disk], deadline_seconds=20)


_ZPOOL = """\
echo "$*" >>"$STUBS/zpool"
case $1 in
  list) [ -e "$STUBS/pool" ] ;;
  import) [ ! -e "$STUBS/importable" ] || echo "   pool: tank" ;;
  create) [ ! -e "$STUBS/broken" ] && touch "$STUBS/pool" ;;
esac
"""


@pytest.fixture
def nas(machine: Machine) -> Machine:
    """A machine whose `zpool` has one pool at most."""
    program = machine.path("/usr/local/sbin/zpool")
    program.write_text(f"#!/bin/bash\n{_ZPOOL}")
    return machine


def _made(nas: Machine) -> list[str]:
    return [call for call in nas.calls("zpool") if call.startswith("create")]


def test_a_pool_is_made_once_of_empty_disks(nas: Machine, disks: list[str]) -> None:
    text = script(f"<post>rocks_pool tank mirror {' '.join(disks)}</post>")
    assert changes(nas.done(text)) == [f"pool tank made of mirror {' '.join(disks)}"]
    assert len(_made(nas)) == 1 and _made(nas)[0].endswith(f"tank mirror {' '.join(disks)}")
    assert NOTHING in nas.done(text)
    assert len(_made(nas)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", [["mkfs.ext4", "-q"], ["sfdisk", "-q"], ["dd"]])
def test_a_disk_with_data_is_never_part_of_a_pool(nas: Machine, disks: list[str], command: list[str]) -> None:
    """A file system, a partition table, or any byte at the begin."""
    fillers = {"dd": ["dd", "if=/bin/sh", f"of={disks[1]}", "count=1", "seek=100"]}
    tables = b"label: gpt\n,1M\n" if command[0] == "sfdisk" else b""
    filled = run(fillers.get(command[0], [*command, disks[1]]), deadline_seconds=60, standard_input=tables)
    assert filled.exit_status == 0, filled.error_text
    before = Path(disks[1]).read_bytes()
    refused = nas.run(script(f"<post>rocks_pool tank mirror {' '.join(disks)}</post>"))
    assert refused.exit_status == 1
    assert f"the disk {disks[1]} has data (" in refused.error_text
    assert not _made(nas)
    assert Path(disks[1]).read_bytes() == before


def test_a_pool_that_was_begun_is_completed_and_one_that_exists_is_not_replaced(
    nas: Machine, disks: list[str]
) -> None:
    """A killed zpool leaves a partition table, which counts as data without the record of its begin."""
    text = script(f"<post>rocks_pool tank {disks[0]}</post>")
    (nas.folder / "stubs/broken").touch()
    assert "zpool did not make the pool tank" in nas.run(text).error_text
    (nas.folder / "stubs/broken").unlink()
    run(["sfdisk", "-q", disks[0]], deadline_seconds=60, standard_input=b"label: gpt\n,1M\n")
    other = nas.run(script(f"<post>rocks_pool tank {disks[0]} {disks[1]}</post>"))
    assert "has data (" in other.error_text, "the record is of other disks"
    (nas.folder / "stubs/importable").touch()
    assert "the pool tank exists but is not imported: zpool import" in nas.run(text).error_text
    (nas.folder / "stubs/importable").unlink()
    assert changes(nas.done(text)) == [f"pool tank made of {disks[0]}"]
    (nas.folder / "stubs/pool").unlink()
    assert "has data (" in nas.run(text).error_text, "the record ended with the pool"


@pytest.mark.slow
def test_the_rest_is_all_disks_but_the_systems(nas: Machine, disks: list[str]) -> None:
    """Pairs of them, the same ones whatever the kernel names first; others than disks are no part of it."""
    lsblk = nas.path("/usr/local/sbin/lsblk")
    kinds = ["/dev/sr0 rom 1 0 1024", "/dev/zd0 disk 0 0 10", "/dev/sdz disk 1 0 10", "/dev/sdy disk 0 0 0"]

    def has(*names: str) -> None:
        rows = "\n".join([*kinds, *(f"{name} disk 0 0 100" for name in ("/dev/system", *names))])
        lsblk.write_text(
            "#!/bin/bash\n"
            f'case "$*" in *MOUNTPOINT*/dev/system) echo /boot ;; *MOUNTPOINT*) ;; *SIZE) echo "{rows}" ;; '
            '*) echo "${!#}" ;; esac\n'
        )
        lsblk.chmod(0o755)

    text = script("<post>rocks_pool tank rest</post>")
    has()
    assert "has no disk but its system's" in nas.run(text).error_text
    has(*disks, "/dev/third")
    refused = nas.run(text).error_text
    assert (
        "has 3 disks besides its system's" in refused
        and f"there are {' '.join(sorted(disks))} /dev/third" in refused
    )
    assert not _made(nas)
    for order in (disks, disks[::-1]):
        has(*order)
        assert changes(nas.done(text)) == [f"pool tank made of mirror {' '.join(sorted(disks))}"]
        (nas.folder / "stubs/pool").unlink()
    has(disks[0])
    assert changes(nas.done(text)) == [f"pool tank made of {disks[0]}"]


def test_a_disk_that_is_missing_is_named(nas: Machine) -> None:
    refused = nas.run(script("<post>rocks_pool tank /dev/disk/by-id/absent</post>"))
    assert "there is no disk /dev/disk/by-id/absent on this host" in refused.error_text
    assert not _made(nas)
