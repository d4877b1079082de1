"""`rocks pragma check image`: each rule of PRAGMA's standard, met and broken, on real partitions and file systems."""

import json
import shutil
import struct
import subprocess  # noqa: TID251 - mke2fs makes the file system
from pathlib import Path

from tests.system.commands.conftest import Site
from tests.unit.pragma.samples import document, domain, file_disk

START = 1024**2
SIZE = 5 * 1024**2


def partition_table(kind: int) -> bytes:
    entry = struct.pack(
        "<B3sB3sII", 0x80, b"\xfe" * 3, kind, b"\xfe" * 3, START // 512, (SIZE - START) // 512
    )
    return (bytes(446) + entry).ljust(510, b"\0") + b"\x55\xaa"


def gpt(first_sector: int = START // 512) -> bytes:
    entry = b"\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4" + bytes(16)
    return (
        partition_table(0xEE) + b"EFI PART".ljust(512, b"\0") + entry + struct.pack("<QQ", first_sector, 9000)
    )


def disk(path: Path, files: dict[str, str] | None, table: bytes, kind: str = "ext4") -> None:
    """A disk with a file system of these files in its first partition; without files, nothing is in it."""
    with path.open("wb") as file:
        file.write(table)
        file.truncate(SIZE)
    if files is not None:
        folder = path.with_suffix(".tree")
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
        blocks = str((SIZE - START) // 1024)
        command = [
            "/usr/sbin/mke2fs",
            "-q",
            "-t",
            kind,
            "-d",
            str(folder),
            "-E",
            f"offset={START}",
            str(path),
            blocks,
        ]
        subprocess.run(command, check=True, capture_output=True)
        shutil.rmtree(folder)


def have_endless_folder(path: Path) -> None:
    """Have the blocks of /etc be one block many times: twice indirect, so a few bytes of the image list it for ever."""

    def debugfs(*arguments: str) -> str:
        command = ["/usr/sbin/debugfs", *arguments, f"{path}?offset={START}"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    block = int(debugfs("-R", "blocks /etc").split()[0])
    single, double = 3900, 3901  # nothing is there
    with path.open("r+b") as file:
        for place, content in ((single, block), (double, single)):
            file.seek(START + place * 1024)
            file.write(struct.pack("<I", content) * 256)
    fields = [f"block[{number}] {block}" for number in range(12)]
    fields += [f"block[IND] {single}", f"block[DIND] {double}", f"size {65000 * 1024}"]
    commands = path.with_suffix(".commands")
    commands.write_text("".join(f"sif /etc {field}\n" for field in fields))
    debugfs("-w", "-f", str(commands))


GOOD = {"etc/passwd": "root", "usr/bin/cloud-init": ""}


def test_each_rule_is_met_or_broken(local: Site, tmp_path: Path) -> None:
    repository = tmp_path / "repository/alone"
    for changed, files, table, interfaces, broken in (
        ("as it should be", GOOD, partition_table(0x83), 2, None),
        ("a GUID partition table", GOOD, gpt(), 2, None),
        ("an agent", {"etc/init.d/vc-out-parser": ""}, partition_table(0x83), 2, None),
        ("one interface", GOOD, partition_table(0x83), 1, ("interfaces", "broken")),
        (
            "no root file system",
            {"boot/vmlinuz": ""},
            partition_table(0x83),
            2,
            ("first partition", "broken"),
        ),
        ("no agent", {"etc/passwd": ""}, partition_table(0x83), 2, ("agent", "broken")),
        ("LVM", None, partition_table(0x8E), 2, ("no LVM or RAID", "broken")),
        ("no table", None, b"none", 2, ("first partition", "broken")),
        ("another file system", None, partition_table(0x83), 2, ("agent", "unknown")),
    ):
        disk(repository / "only.img", files, table)
        (repository / "vc-in.xml").write_text(document(domain(file_disk("only.img"), interfaces)))
        ended = local.rocks("pragma check image alone json=yes")
        ((_, listed),) = (one.values() for one in json.loads(ended.out))
        states = {row["rule"]: row["state"] for row in listed}
        if broken is None:
            assert (ended.status, set(states.values())) == (0, {"met"}), (changed, ended)
        else:
            assert (ended.status, states[broken[0]]) == (1, broken[1]), (changed, ended)
    assert list((tmp_path / "repository/.check").iterdir()) == []
    for arguments in ("", "absent"):
        assert "repository" in local.refused(f"pragma check image {arguments}")


def test_a_compute_has_one_interface(local: Site, tmp_path: Path) -> None:
    repository = tmp_path / "repository/alone"
    disk(repository / "only.img", GOOD, partition_table(0x83))
    for interfaces, state in ((1, "met"), (2, "broken")):
        frontend, compute = (domain(file_disk("only.img"), count) for count in (2, interfaces))
        (repository / "vc-in.xml").write_text(document(frontend, compute))
        ended = local.rocks("pragma check image alone json=yes")
        listed = dict(one.values() for one in json.loads(ended.out))
        states = {node: {row["rule"]: row["state"] for row in rows} for node, rows in listed.items()}
        assert (ended.status, states["compute"].pop("interfaces")) == (int(state == "broken"), state), ended
        assert {*states["compute"].values(), *states["frontend"].values()} == {"met"}


def test_a_folder_without_end_is_an_error(local: Site, tmp_path: Path) -> None:
    image = tmp_path / "repository/alone/only.img"
    files = {**GOOD, **{f"etc/{'n' * 200}{number}": "" for number in range(3)}}
    image.parent.mkdir(parents=True, exist_ok=True)
    disk(image, files, partition_table(0x83), "ext2")
    (image.parent / "vc-in.xml").write_text(document(domain(file_disk("only.img"), 2)))
    local.done("pragma check image alone")
    have_endless_folder(image)
    assert "debugfs prints a folder without end" in local.refused("pragma check image alone")
    (tmp_path / "repository/vcdb.txt").write_text("alone,alone/vc-in.xml\ndock6,dock6/vc-in.xml\n")
    ended = local.rocks("pragma sync repository")  # brings the other one
    assert (ended.status, ended.out[:22]) == (3, "dock6: dock6-frontend-"), ended
    assert ended.err.startswith("Error: alone: debugfs prints a folder without end")
    assert list((tmp_path / "repository/.check").iterdir()) == []
