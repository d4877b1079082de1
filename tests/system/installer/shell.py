"""Runs shell functions of the installer with busybox's shell and this machine's programs, on files as disks."""

import lzma
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from rocks.core.process import Finished, run, run_checked

LIBRARY = Path(__file__).parents[3] / "roll/installer/initramfs/lib"
_PARTS = (
    "tools",
    "report",
    "plan",
    "disks",
    "partitions",
    "system",
    "machine",
    "answers",
    "restore",
    "questions",
    "medium",
)
_PROGRAMS = {
    "sbin": ("blkid", "mdadm", "mke2fs", "mkfs.vfat", "mkswap", "sfdisk", "wipefs"),
    "bin": ("openssl", "tar", "wget", "zstd"),
}
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
MIB = 1024**2
_FIRST_STATE = 128 * 1024
_NEWEST_STATE = _FIRST_STATE + 18 * 1024


@dataclass(frozen=True)
class Shell:
    """A folder that plays /sys, /dev, the work folder and the programs of the initramfs."""

    folder: Path

    def run(self, script: str) -> Finished:
        """Run lines of shell after the functions are read. A failed command ends it, as in the installer."""
        reading = "".join(f". '{LIBRARY}/{part}.sh'; " for part in _PARTS)
        names = {
            "TOOLS": "tools",
            "SYS": "sys",
            "DEV": "dev",
            "WORK": "work",
            "TARGET": "target",
            "SITE": "site",
        }
        environment = {name: str(self.folder / place) for name, place in names.items()}
        environment |= {"PATH": _PATH, "CONSOLE": str(self.folder / "console"), "FILES": str(LIBRARY.parent)}
        return run(
            ["busybox", "sh", "-c", f"{reading}set -e; {script}"],
            deadline_seconds=60,
            environment=environment,
        )

    def text(self, script: str) -> str:
        """As `run`; returns standard output, and the script must succeed."""
        finished = self.run(script)
        assert finished.exit_status == 0, finished.error_text
        return finished.text

    def error(self, script: str) -> str:
        """As `run`; returns the text of the error, and the script must fail with one."""
        finished = self.run(script)
        assert finished.exit_status == 1, (finished.exit_status, finished.text, finished.error_text)
        return (self.folder / "work/failure").read_text()

    def add_disk(self, name: str, mib: int, serial: str = "", *, removable: bool = False) -> Path:
        """An empty disk of the size, as a sparse file; returns the file."""
        device = self.folder / "dev" / name
        with device.open("wb") as file:
            file.truncate(mib * MIB)
        block = self.folder / "sys/block" / name
        (block / "queue").mkdir(parents=True)
        for entry, text in {
            "size": str(mib * 2048),
            "removable": "1" if removable else "0",
            "ro": "0",
            "queue/logical_block_size": "512",
            **({"serial": serial} if serial else {}),
        }.items():
            (block / entry).write_text(f"{text}\n")
        return device

    def write_plan(self, *lines: str, overwrite: bool = False) -> Path:
        """A plan with these lines for disks and partitions."""
        path = self.folder / "plan"
        path.write_text(
            "\n".join(
                (
                    "rocks-install-plan 1",
                    "host compute-0-0",
                    "installation 0123456789abcdef",
                    "interface eth0 52:54:00:00:00:09 10.9.0.9/24 1500",
                    f"overwrite {'yes' if overwrite else 'no'}",
                    *lines,
                    "archive https://10.9.0.1/root.tar.zst",
                    f"archive-sha256 {'a' * 64}",
                    "authorized-key ssh-ed25519 AAAA root@head",
                    "progress https://10.9.0.1/progress",
                    "end",
                    "",
                )
            )
        )
        return path


def make_shell(folder: Path) -> Shell:
    """A shell without any disk."""
    for place in ("sys/block", "dev", "work", "target", "site"):
        (folder / place).mkdir(parents=True)
    for kind, programs in _PROGRAMS.items():
        (folder / "tools" / kind).mkdir(parents=True)
        for program in programs:
            found = shutil.which(program, path=_PATH)
            assert found, f"{program} is missing; run tools/setup test"
            (folder / "tools" / kind / program).symlink_to(found)
    return Shell(folder)


def written(disk: Path, start: int = 0) -> dict[int, bytes]:
    """What is stored in a sparse file from a byte on: place → bytes, without blocks of zeros."""
    found: dict[int, bytes] = {}
    with disk.open("rb") as file:
        place = start
        while True:
            try:
                place = os.lseek(file.fileno(), place, os.SEEK_DATA)
            except OSError:
                return found  # no data behind it
            end = os.lseek(file.fileno(), place, os.SEEK_HOLE)
            for block in range(place, end, 4096):
                content = os.pread(file.fileno(), 4096, block)
                if any(content):
                    found[block] = content
            place = end


def make_file_system(device: Path, kind: str) -> None:
    """Put a file system of the kind on a file, as an earlier owner of the disk did."""
    arguments = {
        "ext4": ["mke2fs", "-q", "-F", "-t", "ext4"],
        "vfat": ["mkfs.vfat", "-F", "32"],
        "swap": ["mkswap", "--quiet"],
    }
    program, *rest = arguments[kind]
    run_checked([shutil.which(program, path=_PATH) or program, *rest, str(device)], deadline_seconds=60)


def make_table(device: Path, text: str) -> None:
    """Partition a file."""
    run_checked(
        [shutil.which("sfdisk", path=_PATH) or "sfdisk", "--quiet", str(device)],
        deadline_seconds=60,
        standard_input=text.encode(),
    )


def put_zfs_labels(device: Path, start: int, size: int, *, young: bool = False) -> None:
    """The first and the last two labels of a pool in the region (bytes); a young pool has written its state once.

    `zfs-label.xz` is a label of a pool that ztest of ZFS 2.3.9 made in a file: the list with the pool's name, which
    libblkid 2.41 reads, then the states that were written (uberblocks), which 2.38 counts.
    """
    label = bytearray(lzma.decompress((Path(__file__).parent / "zfs-label.xz").read_bytes()))
    if young:
        label[_FIRST_STATE:_NEWEST_STATE] = bytes(_NEWEST_STATE - _FIRST_STATE)
    end = start + size // len(label) * len(label)
    with device.open("r+b") as file:
        for place in (start, start + len(label), end - 2 * len(label), end - len(label)):
            file.seek(place)
            file.write(label)
