"""The contract of the drivers: the same cases on this site, on a cloud, and on the example's programs with libvirt."""

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from lab.console import follow_until_ready
from lab.guest import image
from lab.namespace import Machine
from rocks.core.process import run, run_checked
from tests.contract.conftest import libvirt_uri, machine
from tests.patience import patience
from tests.system.commands.conftest import Site, processes
from tests.system.commands.test_commands_at_once import start
from tests.system.lab.conftest import CHECKOUT
from tests.system.machines.site import MachineSite
from tests.system.pragma.conftest import COMPUTE, KEY, TREE
from tests.system.pragma.test_life import states
from tests.unit.pragma.samples import document, domain, file_disk
from tests.waiting import wait_until

__all__ = ["libvirt_uri", "machine", "processes"]

EXAMPLE = CHECKOUT / "examples" / "drivers" / "libvirt"
KERNEL = CHECKOUT / ".state" / "guest" / "kernel"
ADDRESS = "203.0.113.20"
VC_IN = document(domain(file_disk("a.img"), 2), domain(file_disk("a.img")))
SETTINGS = f"""
ADDRESSES='{ADDRESS} dock.example.org 255.255.255.0 203.0.113.1'
MEMORY_MB=96 TYPE=qemu GRACE_SECONDS=1
"""


@pytest.fixture(params=["kvm_rocks", "ec2", pytest.param("executables", marks=pytest.mark.slow)])
def driver(
    request: pytest.FixtureRequest, machines: MachineSite, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The site with a driver; one public address, and the cluster `dock6`."""
    machines.run(f"set attr pragma_public_addresses {ADDRESS}=dock.example.org")
    if request.param == "kvm_rocks":
        yield request.param
        return
    if request.param == "ec2":
        request.getfixturevalue("cloud")
        yield request.param
        return
    if not KERNEL.exists():
        pytest.skip("the guests' kernel is not unpacked: run `make setup`")
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", request.getfixturevalue("libvirt_uri"))
    # not tmp_path: QEMU's unprivileged user could not pass through its folders
    folder = Path(tempfile.mkdtemp(prefix="rocks-pragma-", dir="/tmp"))
    folder.chmod(0o711)
    shutil.copytree(EXAMPLE, folder / "driver")
    with (folder / "driver/settings").open("a") as settings:
        settings.write(SETTINGS)
    (folder / "repository").mkdir(mode=0o711)
    (folder / "repository/vcdb.txt").write_text("dock6,vc-in.xml\n")
    (folder / "repository/vc-in.xml").write_text(VC_IN)
    base = image.ensure_base_image(KERNEL, folder / "images")
    image.make_disk(base, folder / "repository/a.img", "of-an-image", 43 * 1024**2)
    machines.run(f"set attr pragma_repository {folder / 'repository'}")
    machines.run(f"set attr pragma_driver {folder / 'driver'}")
    yield request.param
    shutil.rmtree(folder)


@pytest.fixture
def booted(driver: str, machines: MachineSite, tmp_path: Path) -> str:
    """The words of a boot of a frontend and a compute."""
    (tmp_path / "key.pub").write_text(f"{KEY}\n")
    return f"pragma boot dock6 1 key={tmp_path / 'key.pub'}"


def test_the_life_of_a_cluster(
    driver: str, booted: str, machines: MachineSite, request: pytest.FixtureRequest
) -> None:
    printed = machines.run(booted)
    allocated = re.search(r"^Allocated cluster (\S+) at ([0-9.]+): \1 vm-\1-0$", printed, re.MULTILINE)
    assert allocated is not None, printed
    name, address = allocated.groups()
    assert f"Started cluster {name}" in printed
    assert states(machines) == {name: ("active", address), f"vm-{name}-0": ("active", None)}
    if driver != "ec2":
        assert (name, address) == ("dock", ADDRESS)
        assert "free" in machines.refused(booted)  # the last address
    assert f"may run; rocks pragma shutdown {name}" in machines.refused(f"pragma clean {name}")
    if driver == "executables":
        made: Machine = request.getfixturevalue("machine")
        for each in ("dock", "vm-dock-0"):
            log = made.outside(f"/var/log/libvirt/qemu/{each}.console.log")
            follow_until_ready(log, 0, patience(120), lambda line: None)
    machines.run(f"pragma shutdown {name}")
    machines.run(f"pragma shutdown {name}")
    assert {state for state, _ in states(machines).values()} == {"nostate"}
    machines.run(f"pragma clean {name}")
    assert states(machines) == {}
    assert machines.run(f"pragma clean {name}") == f"there is no cluster {name}, so nothing is removed\n"
    for command in ("list cluster", "shutdown"):
        assert name in machines.refused(f"pragma {command} {name}", 4)


@pytest.mark.slow
def test_what_a_killed_allocate_has_left_is_removed_by_the_next(libvirt_uri: str, tmp_path: Path) -> None:
    """It is killed after each machine that it defines; its folder is removed before, as the next boot does."""
    driver, key = tmp_path / "driver", tmp_path / "key.pub"
    shutil.copytree(EXAMPLE, driver)
    with (driver / "settings").open("a") as settings:
        settings.write(SETTINGS)
    key.write_text(KEY)
    (tmp_path / "bin").mkdir()
    virsh = tmp_path / "bin/virsh"
    dies = 'case $* in *" define "*) [ ! -e "$DEADLY" ] || kill -9 $PPID ;; esac'
    virsh.write_text(f'#!/bin/sh\n/usr/bin/virsh "$@" || exit\n{dies}\n')
    virsh.chmod(0o755)
    environment = {"PATH": f"{virsh.parent}:/usr/bin:/bin", "LIBVIRT_DEFAULT_URI": libvirt_uri}

    def allocate(folder: Path, *, is_killed: bool) -> int:
        folder.mkdir()
        line = [str(driver / "allocate"), "1", "vc-in.xml", str(folder / "vc-out.xml"), str(folder), str(key)]
        deadly = {"DEADLY": str(virsh) if is_killed else "/absent"}
        return run(line, deadline_seconds=60, environment={**environment, **deadly}).exit_status

    def defined() -> set[str]:
        listed = run_checked(["virsh", "-c", libvirt_uri, "list", "--all", "--name"], deadline_seconds=60)
        return set(listed.text.split())

    assert allocate(tmp_path / "clusters-1", is_killed=True) != 0
    assert defined() == {"dock"}
    assert allocate(tmp_path / "clusters-2", is_killed=False) != 0  # the first may still be at work
    shutil.rmtree(tmp_path / "clusters-1")
    assert allocate(tmp_path / "clusters-3", is_killed=False) == 0
    assert defined() == {"dock", "vm-dock-0"}
    for name in ("dock", "vm-dock-0"):
        text = run_checked(["virsh", "-c", libvirt_uri, "dumpxml", name], deadline_seconds=60).text
        assert "clusters-3" in text
        run_checked(["virsh", "-c", libvirt_uri, "undefine", name], deadline_seconds=60)


def test_the_example_has_no_remark_of_shellcheck() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    programs = sorted(str(path) for path in EXAMPLE.iterdir())
    run_checked(["shellcheck", "-s", "dash", "-x", "-P", str(EXAMPLE), *programs], deadline_seconds=60)


def test_programs_get_the_arguments_of_the_first_generation(
    local: Site, programs: Path, tmp_path: Path
) -> None:
    key = f"key={tmp_path / 'key.pub'}"
    ended = local.rocks("pragma boot dock6 1", key)
    assert ended.status == 1
    assert ended.out == "Allocated cluster dock at 192.0.2.7: dock n0\n"
    assert "boot failed with exit status 3" in ended.err
    (folder,) = (tmp_path / "repository/.clusters").iterdir()
    vc_in = tmp_path / "repository/dock6/vc-in.xml"
    assert (folder / "fixed").read_text().splitlines() == [
        f"{vc_in} {folder} frontend,compute", "compute.img", "fixed", "frontend.img"
    ]  # fmt: skip
    assert (folder / "compute.img").read_bytes() == COMPUTE
    assert (folder / "booted").read_text().splitlines() == [
        f"{folder}/frontend.img dock.example.org {folder} {folder}/vc-out.xml  0",
        f"{folder}/compute.img n0 {folder} {folder}/vc-out.xml  0",
    ]
    assert "n0 may run" in local.refused("pragma clean dock")  # its state is not known
    (page,) = re.findall(r"no program \S+; (\S+) lists what it needs", local.refused("pragma shutdown dock"))
    assert Path(page).is_file()
    (programs / "status").write_text("#!/bin/sh\nprintf 'dock nostate\\nn0 nostate\\n'\n")
    assert "would" in local.done("pragma clean dock dry-run=yes")
    local.done("pragma clean dock")
    assert list((tmp_path / "repository/.clusters").iterdir()) == []


def test_a_program_that_fails_leaves_nothing(local: Site, programs: Path, tmp_path: Path) -> None:
    key = f"key={tmp_path / 'key.pub'}"
    private = tmp_path / "id"
    private.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    for arguments, text in (
        (("7", key), "allocate failed with exit status 4: 7 is too many"),
        (("6", key), "no valid vc-out.xml"),
        (("1",), "give key=FILE"),
        (("1", key, "mem=4096"), "does not take mem"),
        (("1", key, "add-iface=ent"), "does not take add-iface"),
        (("1", key, "hosts=vmc-0-0"), "does not take hosts"),
        (("1", f"key={private}"), "private key"),
        (("1", "key=/absent"), "cannot be read"),
        (("1", key, "dry-run=yes"), "a dry run cannot know"),
    ):
        assert text in local.refused("pragma boot dock6", *arguments), arguments
        folders = tmp_path / "repository/.clusters"
        assert not folders.exists() or list(folders.iterdir()) == []
    # a boot that was killed has left its folder, which the next one removes
    (folders / "dock6-killed").mkdir()
    (folders / "dock6-killed/.unfinished").touch()
    (folders / "dock6-killed/vc-out.xml").write_text(
        "<vc><frontend><public fqdn='lost.example.org' ip='192.0.2.8'/></frontend><compute count='0'/></vc>"
    )
    (programs / "clean").write_text(f"#!/bin/sh\necho $2 >>{tmp_path}/cleaned\n")
    assert "no valid vc-out.xml" in local.refused(f"pragma boot dock6 6 {key}")
    assert (tmp_path / "cleaned").read_text() == f"{folders}/dock6-killed/vc-out.xml\n"
    (folders / "dock6-half.removed").mkdir()  # by a clean that was killed
    (folders / "dock6-half.removed/vc-out.xml").touch()
    for driver in ("vmware", "/absent"):
        local.set_as_before("pragma_driver", driver)
        assert "nor a folder of programs" in local.refused("pragma list cluster")


def test_of_two_boots_that_get_one_name_the_second_is_refused(
    local: Site,
    programs: Path,
    processes: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It goes on when the first one has looked whether the name is free, and has not taken it yet."""
    local.done("pragma list cluster")
    executables = import_module("rocks.commands.pragma._shared.executables")
    (programs / "clean").write_text(f"#!/bin/sh\ntouch {tmp_path}/cleaned\n")
    key = f"key={tmp_path / 'key.pub'}"
    look, second = executables.Executables._clusters, []

    def ends_or_waits() -> bool:
        waits = f"FLOCK  ADVISORY  WRITE {second[0].pid} "
        lines = Path("/proc/locks").read_text().splitlines()
        return second[0].poll() is not None or any("->" in line and waits in line for line in lines)

    def look_slowly(driver: Any) -> Any:
        found = look(driver)
        if not second:
            environment = {**processes, "ROCKS_TREES": str(TREE), "HOME": str(tmp_path)}
            second.append(start(environment, "pragma", "boot", "alone", "0", key))
            wait_until(ends_or_waits)
        return found

    monkeypatch.setattr(executables.Executables, "_clusters", look_slowly)
    assert local.rocks("pragma boot dock6 0", key).out.startswith("Allocated cluster dock ")
    out, error = second[0].communicate(timeout=120)
    assert out == "" and "has given the name dock, which a cluster has already" in error
    assert not (tmp_path / "cleaned").exists()


def test_a_boot_that_fails_removes_nothing_of_one_that_goes_on_with_the_same_name(
    local: Site, programs: Path, tmp_path: Path
) -> None:
    other = tmp_path / "repository/.clusters/dock6-other"
    other.mkdir(parents=True)
    (other / ".unfinished").touch()
    (other / "vc-out.xml").write_text("<vc><frontend><public fqdn='dock.example.org'/></frontend></vc>")
    (programs / "clean").write_text(f"#!/bin/sh\ntouch {tmp_path}/cleaned\n")
    allocate = (programs / "allocate").read_text()
    (programs / "allocate").write_text(f"{allocate}exit 5\n")
    executables = import_module("rocks.commands.pragma._shared.executables")
    with executables.locked(other):
        refused = local.refused(f"pragma boot dock6 0 key={tmp_path / 'key.pub'}")
    assert "exit status 5" in refused
    assert not (tmp_path / "cleaned").exists()
    (programs / "allocate").write_text(allocate)
    local.rocks(f"pragma boot dock6 0 key={tmp_path / 'key.pub'}")
    assert not other.exists() and (tmp_path / "cleaned").exists()


def test_what_clean_has_not_removed_is_removed_by_the_next_boot(
    local: Site, programs: Path, tmp_path: Path
) -> None:
    boot, cleaned = f"pragma boot dock6 0 key={tmp_path / 'key.pub'}", tmp_path / "cleaned"
    allocate = (programs / "allocate").read_text()
    (programs / "allocate").write_text(f"{allocate}exit 5\n")
    (programs / "clean").write_text(f"#!/bin/sh\necho $1 >>{cleaned}\n! mkdir {tmp_path}/first\n")
    ended = local.rocks(boot)
    assert "clean failed with exit status 1" in ended.err and "exit status 5" in ended.err
    (left,) = (tmp_path / "repository/.clusters").iterdir()
    assert local.done("pragma list cluster") == ""
    (programs / "allocate").write_text(allocate)
    assert local.rocks(boot).out.startswith("Allocated cluster dock ")
    assert cleaned.read_text().split() == [str(left)] * 2
    assert not left.exists()


@pytest.mark.slow
def test_a_clean_that_hangs_stops_neither_its_boot_nor_another(
    local: Site, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is for what a boot that was killed has left; another boot needs the lock of the folders meanwhile."""
    local.done("pragma list cluster")
    executables = import_module("rocks.commands.pragma._shared.executables")
    monkeypatch.setattr(executables, "_GIVE_BACK_SECONDS", 1.0)
    left = tmp_path / "repository/.clusters/dock6-killed"
    left.mkdir(parents=True)
    (left / ".unfinished").touch()
    (left / "vc-out.xml").write_text("<vc><frontend><public fqdn='lost.example.org'/></frontend></vc>")
    (programs / "clean").write_text(f'#!/bin/sh\nflock -n "${{1%/*}}" touch {tmp_path}/free\nsleep 15\n')
    ended = local.rocks(f"pragma boot dock6 0 key={tmp_path / 'key.pub'}")
    assert ended.out.startswith("Allocated cluster dock ")
    assert "clean did not end within 1 s and was killed" in ended.err
    assert (tmp_path / "free").exists() and left.exists()


@pytest.mark.parametrize("output", ["", " >&2; exit 4"])
def test_a_program_that_prints_without_end_is_killed(
    local: Site, programs: Path, tmp_path: Path, output: str
) -> None:
    """To either output; so many bytes show that more are not read."""
    (programs / "fix_images").write_text(f"#!/bin/sh\nhead -c 40000000 /dev/zero {output}\n")
    refused = local.refused(f"pragma boot dock6 0 key={tmp_path / 'key.pub'}")
    assert "fix_images printed more than 16777216 bytes and was killed" in refused
    assert list((tmp_path / "repository/.clusters").iterdir()) == []


def test_a_folder_that_another_command_removes_meanwhile_stops_none(
    local: Site, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there when the folders are listed, and gone when it is looked at."""
    local.done("pragma list cluster")
    executables = import_module("rocks.commands.pragma._shared.executables").Executables
    look = executables._folders_here
    gone = tmp_path / "repository/.clusters/dock6-gone"
    monkeypatch.setattr(executables, "_folders_here", lambda driver: [gone, *look(driver)])
    ended = local.rocks(f"pragma boot dock6 0 key={tmp_path / 'key.pub'}")
    assert ended.out.startswith("Allocated cluster dock "), ended
    assert [one["frontend"] for one in json.loads(local.done("pragma list cluster json=yes"))] == ["dock"]


def test_a_log_that_cannot_be_written_any_more_hides_no_error(
    local: Site, programs: Path, tmp_path: Path
) -> None:
    log = tmp_path / "boot.log"
    (programs / "fix_images").write_text(f"#!/bin/sh\nrm {log}\nmkdir {log}\n")
    refused = local.refused(f"pragma boot dock6 7 key={tmp_path / 'key.pub'} logfile={log}")
    assert "7 is too many" in refused


def test_a_folder_that_is_damaged_stops_no_other_cluster(local: Site, programs: Path, tmp_path: Path) -> None:
    """Its cluster may run: it stays, and is listed. A file beside the folders is nobody's."""
    folders = tmp_path / "repository/.clusters"
    (folders / "dock6-broken").mkdir(parents=True)
    (folders / "dock6-broken/vc-out.xml").touch()
    (folders / "note.txt").touch()
    ended = local.rocks(f"pragma boot dock6 0 key={tmp_path / 'key.pub'}")
    assert "Allocated cluster dock at 192.0.2.7" in ended.out
    listed = json.loads(local.done("pragma list cluster json=yes"))
    assert [(one["frontend"], one["cluster"][0]["status"]) for one in listed] == [
        ("dock6-broken", "unknown"),
        ("dock", "nostate"),
    ]
    for command in ("list cluster", "shutdown", "clean"):
        error = local.refused(f"pragma {command} dock6-broken")
        assert "dock6-broken/vc-out.xml" in error
        assert "restore it, or" in error
    assert {"dock6-broken", "note.txt"} < {path.name for path in folders.iterdir()}


def test_the_example_guesses_no_format_of_an_image(tmp_path: Path) -> None:
    """What looks like the description of a VMware disk could name files of the machine."""
    (tmp_path / "secret").write_bytes(b"SECRET".ljust(512))
    images = tmp_path / "images"
    images.mkdir()
    text = '# x\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 1 FLAT "../secret" 0\n'
    (images / "a.img").write_bytes(text.encode().ljust(4096))
    run_checked([str(EXAMPLE / "fix_images"), "vc-in.xml", str(images), "frontend"], deadline_seconds=60)
    back = (
        "qemu-img",
        "convert",
        "-f",
        "qcow2",
        "-O",
        "raw",
        str(images / "a.img.base"),
        str(tmp_path / "back"),
    )
    run_checked(back, deadline_seconds=60)
    assert (tmp_path / "back").read_bytes().startswith(text.encode())
