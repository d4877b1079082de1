"""Images are made whole or not at all, and never over something that is there."""

import fcntl
import os
import shutil
import signal
import subprocess  # noqa: TID251 - a process that is killed at a chosen moment
import sys
import zlib
from base64 import b64encode
from pathlib import Path

import pytest

from rocks.core.errors import HostError, StateError, UserError
from rocks.fleet.host.change import Change
from rocks.fleet.wire.requests import DiskSpec, SeedSpec
from rocks.machine.host import disks, files
from rocks.machine.host.disks import is_same, read_disk, write_seed
from rocks.machine.host.files import ImageOwners, QemuOwner
from tests.waiting import wait_until

MACHINE = "5f5b4f0e-3c3e-4d57-9d43-0f8d1a2b3c4d"
SOURCES = Path(__file__).resolve().parents[4] / "src"


def ensure_disk(disk: DiskSpec) -> Change:
    """As the agent does; the records of a file system without attributes are beside the images' folder."""
    folder = Path(disk.path or "/").parent.parent / "state"
    return disks.ensure_disk(disk, ImageOwners(folder))[0]


def spec(path: Path, **changes: object) -> DiskSpec:
    """A raw image of 2 GB, with changes."""
    fields = {"format": "raw", "size_gb": 2, "is_block": False, **changes}
    return DiskSpec(path=str(path), **fields)  # type: ignore[arg-type]


def test_a_raw_image_is_made_sparse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the size in GB of 1000³ bytes; without an account of libvirt's, any user passes through its folders."""
    monkeypatch.setattr(files, "qemu_owner", lambda: QemuOwner(None, None))
    path = tmp_path / "kvm" / "disks" / "vm.hda"
    umask = os.umask(0o077)
    try:
        assert ensure_disk(spec(path)).changed
    finally:
        os.umask(umask)
    status = path.stat()
    assert status.st_size == 2 * 1000**3
    assert status.st_blocks == 0
    assert status.st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == path.parent.parent.stat().st_mode & 0o777 == 0o711
    assert list(path.parent.iterdir()) == [path]


def test_the_fact_of_a_disk_names_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert (
        read_disk(f"{tmp_path}/vm.hda").folder
        == read_disk(f"{tmp_path}/no/such/vm.hda").folder
        == str(tmp_path)
    )
    assert read_disk("/nosuch/dir/vm.hda").folder == "/"


def test_an_image_that_is_there_is_left_alone(tmp_path: Path) -> None:
    """Whatever its size: it may be somebody's data."""
    path = tmp_path / "vm.hda"
    path.write_bytes(b"data")
    assert not ensure_disk(spec(path)).changed
    assert path.read_bytes() == b"data"


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
def test_a_qcow2_image(tmp_path: Path) -> None:
    """By qemu-img, of the same size inside."""
    path = tmp_path / "vm.qcow2"
    assert ensure_disk(spec(path, format="qcow2")).changed
    assert path.read_bytes()[:4] == b"QFI\xfb"
    assert int.from_bytes(path.read_bytes()[24:32], "big") == 2 * 1000**3
    assert not ensure_disk(spec(path, format="qcow2")).changed


def test_what_is_in_the_way_is_refused(tmp_path: Path) -> None:
    """A folder, a link to nowhere, a file where a device belongs."""
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    with pytest.raises(StateError, match="is a symbolic link"):
        ensure_disk(spec(tmp_path / "nowhere"))
    with pytest.raises(StateError, match="not an image file"):
        ensure_disk(spec(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="not a block device"):
        ensure_disk(spec(tmp_path / "file", is_block=True))
    with pytest.raises(StateError, match="there is no block device"):
        ensure_disk(spec(tmp_path / "sdz", is_block=True))
    with pytest.raises(HostError, match="Not a directory"):
        ensure_disk(spec(tmp_path / "file" / "vm.hda"))
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("path", ["", "vm.hda", "/a/../etc/passwd", "/a//b", "/a/", "/a\0b", "/./a"])
def test_paths_that_do_not_say_where_they_lead(path: str) -> None:
    """Refused before anything is looked at."""
    with pytest.raises(UserError, match="not an absolute, normalized path"):
        ensure_disk(DiskSpec(path, "raw", 1, False))
    with pytest.raises(UserError):
        read_disk(path)


def test_facts_of_disks(tmp_path: Path) -> None:
    """Present and absent ones, with the free space of the nearest folder that exists."""
    (tmp_path / "a").write_bytes(b"12345")
    there, absent = read_disk(str(tmp_path / "a")), read_disk(str(tmp_path / "x" / "y" / "b"))
    assert (there.exists, there.is_block, there.size_bytes) == (True, False, 5)
    assert (absent.exists, absent.size_bytes) == (False, 0)
    assert absent.filesystem_bytes == there.filesystem_bytes > 0
    assert 0 < absent.free_bytes <= absent.filesystem_bytes


def test_a_marked_file_is_the_same_on_a_device_of_another_number(tmp_path: Path) -> None:
    """As after a boot; a saved guest could not be continued, and its memory was lost."""
    owners = ImageOwners(tmp_path / "state")
    made = disks.ensure_disk(spec(tmp_path / "vm.hda", machine="u"), owners)[1]
    assert made.machine == "u" and is_same(made._replace(device=made.device + 1), owners)
    assert not is_same(made._replace(inode=made.inode + 1), owners)
    assert not is_same(made._replace(machine="v"), owners)
    assert not is_same(made._replace(machine="", device=made.device + 1), owners)


def test_leftovers_of_a_killed_creation_go_and_live_ones_stay(tmp_path: Path) -> None:
    """A file that its maker still holds locked is being made just now."""
    (tmp_path / ".vm.hda.unfinished-1-aa").touch()
    live = tmp_path / ".vm.hda.unfinished-2-bb"
    with live.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert ensure_disk(spec(tmp_path / "vm.hda")).changed
        assert sorted(entry.name for entry in tmp_path.iterdir()) == [live.name, "vm.hda"]
    (tmp_path / "vm.hda").unlink()
    assert ensure_disk(spec(tmp_path / "vm.hda")).changed
    assert [entry.name for entry in tmp_path.iterdir()] == ["vm.hda"]


MAKE_UNTIL_KILLED = """
import os, sys
from pathlib import Path
from rocks.machine.host import disks
from rocks.machine.host.files import ImageOwners
from rocks.machine.host.files import QemuOwner
from rocks.fleet.wire.requests import DiskSpec
original = getattr(os, sys.argv[2])
def stop_here(*arguments, **words):
    print("here", flush=True)
    sys.stdin.read()
    return original(*arguments, **words)
setattr(os, sys.argv[2], stop_here)
disks.ensure_disk(DiskSpec(sys.argv[1], "raw", 1, False), ImageOwners(Path(sys.argv[3])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", ["ftruncate", "fsync", "link", "unlink", "close"])
def test_killed_at_every_step(tmp_path: Path, step: str) -> None:
    """SIGKILL anywhere leaves no image or a whole one; the next start makes it and tidies up."""
    path = tmp_path / "vm.hda"
    process = subprocess.Popen(
        [sys.executable, "-c", MAKE_UNTIL_KILLED, str(path), step, str(tmp_path / "state")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
    )
    assert process.stdout is not None and process.stdout.readline() == b"here\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.communicate()
    assert not path.exists() or path.stat().st_size == 1000**3
    ensure_disk(DiskSpec(str(path), "raw", 1, False))
    assert path.stat().st_size == 1000**3
    ensure_disk(DiskSpec(str(tmp_path / "other"), "raw", 1, False))
    left = [entry.name for entry in tmp_path.iterdir() if entry.name not in ("vm.hda", "other")]
    assert left == []


def test_no_image_is_created_where_a_file_system_is_not_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a boot on which the mount failed: the machine's disk may be there, and a new one would hide it."""
    table = tmp_path / "fstab"
    folder = tmp_path / "the images"
    folder.mkdir()
    point = str(folder).replace(" ", "\\040")
    table.write_text(
        f"# disks\n/dev/vdb none swap sw 0 0\n/dev/vda / ext4 defaults 0 1\nsshfs#nas:/x {point}/ fuse\n"
    )
    monkeypatch.setattr(files, "_FSTAB", table)
    with pytest.raises(StateError, match=f"is not created.* run `mount '{folder}/'` on the host"):
        ensure_disk(spec(folder / "kvm" / "vm.hda"))
    seed = SeedSpec(str(folder / "vm.seed"), str(folder), MACHINE, b64encode(zlib.compress(b"seed")).decode())
    with pytest.raises(StateError, match="is not created"):
        write_seed(seed, ImageOwners(tmp_path / "state"))
    assert list(folder.iterdir()) == []
    mounted = tmp_path / "mountinfo"
    mounted.write_text(f"36 1 0:1 / {point} rw - fuse sshfs#nas:/x rw\n")
    monkeypatch.setattr(files, "_MOUNTED", mounted)
    assert ensure_disk(spec(folder / "kvm" / "vm.hda")).changed
    mounted.write_text("")
    assert not ensure_disk(spec(folder / "kvm" / "vm.hda")).changed


@pytest.mark.slow
def test_two_at_once(tmp_path: Path) -> None:
    """Both processes succeed or one asks to try again; there is one image and nothing else."""
    path = tmp_path / "vm.hda"
    code = (
        "from rocks.machine.host.disks import ensure_disk; from rocks.fleet.wire.requests import DiskSpec; import sys\n"
        "from pathlib import Path; from rocks.machine.host.files import ImageOwners\n"
        "ensure_disk(DiskSpec(sys.argv[1], 'raw', 1, False), ImageOwners(Path('/nonexistent')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], env=environment, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    error_outputs = [process.communicate()[1] for process in processes]
    assert all(b"try again" in printed for printed in error_outputs if printed), error_outputs
    assert any(process.returncode == 0 for process in processes)
    wait_until(lambda: len(list(tmp_path.iterdir())) == 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["vm.hda"]
    assert path.stat().st_size == 1000**3
