"""Which disk the installer takes, which it rejects, and what it writes: real sfdisk, blkid, wipefs on files."""

import pytest

from tests.system.installer.shell import MIB, Shell, make_file_system, make_table, put_zfs_labels, written

ROOT = "partition root rest ext4 /"
CHOOSE = 'read_plan "$WORK/../plan"; choose_disks "$(needed_mib)"; '
CHECK = CHOOSE + 'while read -r disk; do check_disk "$disk"; done <"$WORK/disks"; '
WRITE = CHECK + 'while read -r disk <&3; do write_table "$disk"; done 3<"$WORK/disks"; '
GB4 = 4096


def _chosen(shell: Shell, *lines: str) -> list[str]:
    shell.write_plan(*lines)
    return shell.text(CHOOSE + 'cat "$WORK/disks"').split()


def test_the_smallest_that_is_large_enough(shell: Shell) -> None:
    for name, mib in (("sda", 8000), ("sdb", 1000), ("sdc", 4000), ("nvme0n1", 5000)):
        shell.add_disk(name, mib)
    shell.add_disk("sdd", 3000, removable=True)
    assert _chosen(shell, "disk smallest", ROOT) == ["sdc"]
    assert _chosen(shell, "disk smallest", "disk smallest", ROOT) == ["sdc", "nvme0n1"]
    assert _chosen(shell, "disk smallest", "partition root 7000 ext4 /") == ["sda"]


def test_equal_disks_are_in_the_order_of_their_serial_numbers(shell: Shell) -> None:
    """Their names may be exchanged at the next start; an interrupted installation goes on with the same ones."""
    for name, serial in (("sda", "C"), ("sdb", "A"), ("sdc", "B B"), ("sdd", "")):
        shell.add_disk(name, 9000, serial)
    assert shell.text("matching_disks smallest").split() == ["sdd", "sdb", "sdc", "sda"]


def test_by_serial_and_by_path(shell: Shell) -> None:
    shell.add_disk("vda", GB4, "AAA")
    shell.add_disk("vdb", GB4, "BBB")
    assert _chosen(shell, "disk serial BBB", ROOT) == ["vdb"]
    assert _chosen(shell, "disk path /dev/vdb", ROOT) == ["vdb"]


def test_the_serial_of_a_scsi_disk(shell: Shell) -> None:
    shell.add_disk("sda", GB4)
    page = shell.folder / "sys/block/sda/device"
    page.mkdir()
    (page / "vpd_pg80").write_bytes(b"\0\x80\0\x08  WD-X1 ")
    assert _chosen(shell, "disk serial WD-X1", ROOT) == ["sda"]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (("disk serial ZZZ", ROOT), "is not there"),
        (("disk smallest", "partition root 9000 ext4 /"), "no disk has 9259 MiB"),
        (("disk serial AAA", "partition root 9000 ext4 /"), "has 4096 MiB, and the plan needs 9259"),
        (("disk serial AAA", "disk path /dev/vda", ROOT), "both disks of the plan are vda"),
        (("disk serial SAME", ROOT), "is 2 disks of this machine"),
    ],
)
def test_no_such_disk(shell: Shell, lines: tuple[str, ...], problem: str) -> None:
    shell.add_disk("vda", GB4, "AAA")
    shell.add_disk("vdb", GB4, "SAME")
    shell.add_disk("vdc", GB4, "SAME")
    shell.write_plan(*lines)
    text = shell.error(CHOOSE)
    assert problem in text
    assert "rocks set host attr" in text or "attribute install_" in text


def test_an_empty_disk_is_partitioned(shell: Shell) -> None:
    disk = shell.add_disk("vda", GB4)
    shell.write_plan(
        "disk smallest",
        "partition root 2500 ext4 /",
        "partition swap 500 swap -",
        "partition pool rest none -",
    )
    shell.text(WRITE)
    assert shell.text('table_of "$DEV/vda"').splitlines() == [
        "2048 2048 bios",
        "4096 524288 efi",
        "528384 5120000 root",
        "5648384 1024000 swap",
        "6672384 1714176 pool",
    ]
    assert shell.text("mark_of vda") == "begun 0123456789abcdef\n"
    assert written(disk)[0][:440] == b"\xcd\x18" + bytes(438)  # int 18h: the next boot device


@pytest.mark.slow
def test_both_disks_of_an_array_get_the_same_sizes(shell: Shell) -> None:
    shell.add_disk("vda", GB4)
    shell.add_disk("vdb", GB4 + 500)
    shell.write_plan("disk smallest", "disk smallest", ROOT)
    shell.text(WRITE)
    first, second = (shell.text(f'table_of "$DEV/{name}"').splitlines() for name in ("vda", "vdb"))
    assert [line + "-2" for line in first] == second


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ext4", "vfat", "swap"])
@pytest.mark.parametrize("place", ["disk", "gpt", "dos"])
def test_a_disk_with_data_is_rejected_unless_the_plan_says_overwrite(
    shell: Shell, kind: str, place: str
) -> None:
    disk = shell.add_disk("vda", GB4, "AAA")
    content = shell.folder / "content"
    with content.open("wb") as file:
        file.truncate(64 * MIB)
    make_file_system(content, kind)
    if place != "disk":
        make_table(disk, f"label: {place}\nstart=40960, size=1000000\n")
    with disk.open("r+b") as file:
        for offset, block in written(content).items():
            file.seek((0 if place == "disk" else 40960 * 512) + offset)
            file.write(block)
    before = written(disk)
    shell.write_plan("disk smallest", ROOT)
    text = shell.error(WRITE)
    assert kind in text
    assert "rocks set host attr compute-0-0 install_overwrite yes" in text
    assert written(disk) == before
    shell.write_plan("disk smallest", ROOT, overwrite=True)
    shell.text(WRITE)
    assert shell.text("content vda") == "disk gpt\n"


def test_bytes_of_an_unknown_kind_are_data(shell: Shell) -> None:
    disk = shell.add_disk("vda", GB4)
    with disk.open("r+b") as file:
        file.seek(500_000)
        file.write(b"x")
    shell.write_plan("disk smallest", ROOT)
    assert "data-of-an-unknown-kind" in shell.error(WRITE)


def test_the_second_disk_of_an_array_is_looked_at_before_the_first_is_written(shell: Shell) -> None:
    first = shell.add_disk("vda", GB4)
    make_file_system(shell.add_disk("vdb", GB4), "ext4")
    shell.write_plan("disk smallest", "disk smallest", ROOT)
    assert "vdb" in shell.error(WRITE)
    assert not written(first)


@pytest.mark.slow
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("mark", [False, True])
@pytest.mark.parametrize("place", ["disk", "partition", "beside a file system", "a moment old"])
def test_a_zfs_pool_is_never_overwritten(shell: Shell, overwrite: bool, mark: bool, place: str) -> None:
    disk = shell.add_disk("vda", GB4)
    if place == "beside a file system":
        make_file_system(disk, "ext4")
    if place == "partition":
        make_table(disk, "label: gpt\nstart=2048, size=6000000\n")
        put_zfs_labels(disk, 2048 * 512, 6000000 * 512)
    else:
        put_zfs_labels(disk, 0, GB4 * MIB, young=place == "a moment old")
    shell.write_plan("disk smallest", ROOT, overwrite=overwrite)
    if mark:
        shell.text('read_plan "$WORK/../plan"; set_mark vda begun')
    before = written(disk)
    assert "zpool labelclear" in shell.error(WRITE)
    assert written(disk) == before


@pytest.mark.slow
def test_a_pool_on_a_partition_of_the_plan_stays(shell: Shell) -> None:
    disk = shell.add_disk("vda", GB4)
    lines = ("disk smallest", "partition root 2500 ext4 /", "partition pool rest none -")
    shell.write_plan(*lines)
    shell.text(WRITE)
    start, size, _ = shell.text('table_of "$DEV/vda" | tail -n 1').split()
    put_zfs_labels(disk, int(start) * 512, int(size) * 512)
    pool = written(disk, int(start) * 512)
    shell.write_plan(*lines, overwrite=True)
    shell.text(WRITE)
    assert written(disk, int(start) * 512) == pool
    shell.write_plan(
        "disk smallest", "partition root 2600 ext4 /", "partition pool rest none -", overwrite=True
    )
    assert "ZFS pool (pool)" in shell.error(WRITE)
    assert written(disk, int(start) * 512) == pool


@pytest.mark.slow
def test_an_interrupted_installation_goes_on_without_overwrite(shell: Shell) -> None:
    shell.add_disk("vda", GB4)
    shell.write_plan("disk smallest", ROOT)
    shell.text(WRITE)
    shell.text(WRITE)
    assert shell.text('table_of "$DEV/vda"').splitlines()[-1].endswith(" root")


@pytest.mark.slow
def test_an_array_whose_first_disk_alone_has_its_mark_is_installed_again(shell: Shell) -> None:
    """The machine stopped between the marks of the two."""
    for name in ("vda", "vdb"):
        shell.add_disk(name, GB4)
    shell.write_plan("disk smallest", "disk smallest", ROOT)
    shell.text(WRITE)
    assert shell.text(CHOOSE + 'set_mark vda "done"; is_complete || echo no') == "no\n"
    shell.text(WRITE)
    assert shell.text("mark_of vda; mark_of vdb") == "begun 0123456789abcdef\n" * 2


def test_a_half_written_table_of_this_installation_is_written_again(shell: Shell) -> None:
    disk = shell.add_disk("vda", GB4)
    shell.write_plan("disk smallest", ROOT)
    shell.text(WRITE)
    with disk.open("r+b") as file:
        file.seek(1024)
        file.write(bytes(16384))  # the header is there, the entries are not
    shell.text(WRITE)
    assert shell.text('table_of "$DEV/vda"').splitlines()[-1].endswith(" root")


def test_an_interrupted_installation_of_another_number_is_data(shell: Shell) -> None:
    shell.add_disk("vda", GB4)
    plan = shell.write_plan("disk smallest", ROOT)
    shell.text(WRITE)
    plan.write_text(plan.read_text().replace("0123456789abcdef", "fedcba9876543210"))
    assert "install_overwrite" in shell.error(WRITE)


@pytest.mark.slow
def test_a_complete_installation_is_recognised(shell: Shell) -> None:
    shell.add_disk("vda", GB4)
    shell.write_plan("disk smallest", ROOT)
    shell.text(WRITE)
    assert shell.text(CHOOSE + "is_complete || echo no") == "no\n"
    shell.text(CHOOSE + 'set_mark vda "done"')
    assert shell.text(CHOOSE + "is_complete && echo yes") == "yes\n"
    assert "install_overwrite" in shell.error(WRITE)
