"""An image without cloud-init is prepared once, when it is added; on real partitions and file systems."""

import json
import subprocess  # noqa: TID251 - e2fsck looks at what was written
import tempfile
from pathlib import Path

import pytest

from pragma._shared import ext_files, preparation
from pragma._shared.ext_files import debugfs, names_in, root_of
from pragma._shared.preparation import prepare_image
from rocks.core.errors import HostError, ToolError
from tests.system.commands.conftest import Site
from tests.system.pragma.test_check_image import SIZE, disk, gpt, partition_table
from tests.unit.pragma.samples import document, domain, file_disk

LEFT = {
    "etc/udev/rules.d/70-persistent-net.rules": "of the machine it was made on",
    "etc/sysconfig/network-scripts/ifcfg-eth0": "HWADDR=52:54:00:00:00:01",
    "etc/sysconfig/network-scripts/ifcfg-lo": "",
}
SYSTEMD = {
    **LEFT,
    "lib/systemd/system/sysinit.target": "",
    "etc/systemd/system.conf": "",
    "etc/init.d/vc-out-parser": "",
}
RED_HAT = {**LEFT, "etc/rc.d/rc3.d/S10network": "", "etc/rc.d/rc5.d/S10network": ""}
PROGRAM = "pragma-vc-out"


def place_of(image: Path) -> str:
    place = root_of(image)
    assert place is not None
    return place


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
@pytest.mark.parametrize(
    ("tree", "links"),
    [
        (SYSTEMD, {f"/etc/systemd/system/multi-user.target.wants/{PROGRAM}.service"}),
        (RED_HAT, {f"/etc/rc.d/rc{level}.d/S04{PROGRAM}" for level in (3, 5)}),
    ],
    ids=["systemd", "red hat"],
)
def test_a_program_is_added_and_network_files_are_renamed(
    tmp_path: Path, kind: str, tree: dict[str, str], links: set[str]
) -> None:
    image = tmp_path / "a.img"
    disk(image, tree, partition_table(0x83), kind)
    place = place_of(image)
    for _ in range(2):  # a second time changes nothing
        assert prepare_image(image)
        assert "Mode:  0755" in debugfs(place, "-R", f"stat /etc/{PROGRAM}")
        for link in links:
            assert PROGRAM in debugfs(place, "-R", f"stat {link}").rpartition("Fast link dest: ")[2], link
        assert names_in(place, "/etc/sysconfig/network-scripts") == {"old-ifcfg-eth0", "ifcfg-lo"}
        assert names_in(place, "/etc/udev/rules.d") == set()
        assert "of the machine" in debugfs(place, "-R", "cat /etc/udev/old-70-persistent-net.rules")
        subprocess.run(["/usr/sbin/e2fsck", "-fn", place], check=True, capture_output=True)


def test_dash_reads_the_program(tmp_path: Path) -> None:
    image = tmp_path / "a.img"
    disk(image, SYSTEMD, partition_table(0x83))
    assert prepare_image(image)
    text = debugfs(place_of(image), "-R", f"cat /etc/{PROGRAM}")
    subprocess.run(["/bin/dash", "-n"], input=text.encode(), check=True)


def test_other_images_stay_as_they_are(tmp_path: Path) -> None:
    image = tmp_path / "a.img"
    for changed, files, table in (
        ("cloud-init", {**SYSTEMD, "usr/bin/cloud-init": ""}, partition_table(0x83)),
        ("nothing that starts programs", {"etc/passwd": ""}, partition_table(0x83)),
        ("no root file system", {"boot/vmlinuz": ""}, partition_table(0x83)),
        ("LVM", None, partition_table(0x8E)),
        ("no table", None, b"none"),
        ("a first partition beyond all disks", None, gpt(1 << 60)),
    ):
        disk(image, files, table)
        before = image.read_bytes()
        assert not prepare_image(image), changed
        assert image.read_bytes() == before, changed
    image.write_bytes(gpt()[:1024])  # its table has no entries
    assert not prepare_image(image)


def test_a_file_system_without_space_for_the_program_is_refused(tmp_path: Path) -> None:
    """Its name fits into the folder, and its content nowhere."""
    image, large = tmp_path / "a.img", tmp_path / "large"
    disk(image, RED_HAT, partition_table(0x83))
    large.write_bytes(b"x" * SIZE)
    debugfs(place_of(image), "-w", "-R", f"write {large} large", max_bytes=SIZE)
    with pytest.raises(HostError, match="does not take /etc/pragma-vc-out; is it full"):
        prepare_image(image)


@pytest.mark.parametrize("bound", ["_RECOVERY_MEMORY_BYTES", "_BOUNDS"])
def test_an_image_whose_file_system_exceeds_a_bound_is_not_prepared(
    tmp_path: Path, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program that looks at it is ended by a signal, as after its time."""
    image = tmp_path / "a.img"
    disk(image, SYSTEMD, partition_table(0x83))
    if bound == "_BOUNDS":
        monkeypatch.setattr(ext_files, bound, ("--as=4096", "--core=0"))
    else:
        monkeypatch.setattr(preparation, bound, 4096)
    before = image.read_bytes()
    with pytest.raises((HostError, ToolError), match="the file system of the image is damaged"):
        prepare_image(image)
    assert image.read_bytes() == before


def images(site: Site) -> dict[str, str | None]:
    return {
        one["name"]: row["comment"]
        for one in json.loads(site.done("list image json=yes") or "[]")
        for row in one["image"]
    }


def test_a_cluster_is_prepared_once_and_an_old_step_is_continued(local: Site, tmp_path: Path) -> None:
    folder = tmp_path / "repository/alone"
    disk(folder / "only.img", SYSTEMD, partition_table(0x83))
    (folder / "vc-in.xml").write_text(document(domain(file_disk("only.img"), 2)))
    local.done("pragma check image alone")
    ((name, comment),) = images(local).items()
    assert comment is not None and comment.endswith("without cloud-init")
    assert "vc-out.xml is copied to /root" in local.done("pragma check image alone")
    assert list(images(local)) == [name]
    # killed before the published one was removed, or before anything was looked into
    published = comment.removeprefix("of ").removesuffix(", without cloud-init")
    local.done(f"add image {published} file={folder / 'only.img'} comment='not looked into yet'")
    local.done("pragma check image alone")
    assert list(images(local)) == [name]
    local.done(f"remove image {name}")
    local.done(f"add image {published} file={folder / 'only.img'} comment='not looked into yet'")
    local.done("pragma check image alone")
    assert list(images(local)) == [name]


def test_a_cluster_for_which_no_temporary_file_can_be_written_stops_no_other(
    local: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(tmp_path / "repository/alone/only.img", SYSTEMD, partition_table(0x83))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    ended = local.rocks("pragma sync repository")
    assert ended.status == 3 and ended.out.startswith("dock6: ")
    assert ended.err.startswith("Error: alone: ") and "cannot be prepared: No such file" in ended.err
    monkeypatch.setattr(tempfile, "tempdir", None)
    local.done("pragma sync repository")
    assert any(comment and comment.endswith("without cloud-init") for comment in images(local).values())
