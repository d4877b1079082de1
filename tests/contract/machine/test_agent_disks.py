"""Disks through the agent, as a local user, a guest or a mistaken operator would attack them."""

import os
import re
import shlex
import shutil
import subprocess  # noqa: TID251 - a local user's own process
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rocks.core.errors import StateError
from rocks.fleet.wire.requests import DiskSpec, ImagesRequest, RemoveImageRequest, ResumeDomain
from rocks.machine.host import files
from rocks.machine.host.files import ATTRIBUTE, QemuOwner
from tests.contract.agents import ask
from tests.contract.attacked_host import MINE, THEIRS, Attacked, done
from tests.contract.outcomes import refused
from tests.waiting import wait_until

pytestmark = pytest.mark.system  # root: other users' files, and attributes that only root can write

NOBODY = 65534


def test_a_new_machine_never_gets_an_old_machine_s_image(attacked: Attacked) -> None:
    """The former owner's data stay, unread, and the next owner's image has a UUID of its own."""
    image = attacked.images / "vm.vda"
    assert attacked.start(attacked.spec(image, machine=THEIRS)) == ""
    assert os.getxattr(image, ATTRIBUTE).decode() == THEIRS
    image.write_bytes(b"the former owner's data")
    assert "belongs to another machine (22222222-" in attacked.start(attacked.spec(image))
    assert image.read_bytes() == b"the former owner's data"
    assert attacked.start(attacked.spec(image, machine=THEIRS)) == ""


def test_a_file_of_nobody_needs_the_operator_s_consent(attacked: Attacked) -> None:
    """It is root's then, mode 0600, and only that machine's."""
    image = attacked.images / "vm.vda"
    image.write_bytes(b"copied into place")
    os.chown(image, NOBODY, NOBODY)
    image.chmod(0o666)
    assert "nobody is known to own the disk" in attacked.start(attacked.spec(image))
    assert image.stat().st_mode & 0o777 == 0o666
    attacked.give(image)
    assert (image.stat().st_mode & 0o777, image.stat().st_uid) == (0o600, 0)
    assert attacked.start(attacked.spec(image)) == ""
    assert "belongs to another" in attacked.start(attacked.spec(image, machine=THEIRS))


@pytest.mark.slow
def test_a_file_that_root_put_there_for_the_machine_is_its_own(attacked: Attacked) -> None:
    """As the published pragma_boot does: it adds the machine, copies the image to the path of its disk, and starts."""
    image, since = attacked.images / "vm.vda", int(time.time())
    time.sleep(1)
    image.write_bytes(b"copied into place")
    image.chmod(0o644)
    spec = attacked.spec(image, put_after=since)
    assert attacked.start(spec) == ""
    assert (image.stat().st_mode & 0o777, image.read_bytes()) == (0o600, b"copied into place")
    assert os.getxattr(image, ATTRIBUTE).decode() == MINE
    assert "belongs to another" in attacked.start(replace(spec, machine=THEIRS))


def _with_other_owner(image: Path, spec: DiskSpec) -> DiskSpec:
    os.chown(image, NOBODY, 0)
    return spec


def _with_mode(mode: int) -> Callable[[Path, DiskSpec], DiskSpec]:
    def change(image: Path, spec: DiskSpec) -> DiskSpec:
        image.chmod(mode)
        return spec

    return change


def _as_if_older(image: Path, spec: DiskSpec) -> DiskSpec:
    """The file of a machine that is gone, changed since by everything that changes files."""
    time.sleep(2)
    os.utime(image, (time.time() + 60, time.time() + 60))
    image.chmod(0o600)
    image.rename(image.with_name("aside"))
    image.with_name("aside").rename(image)
    image.write_bytes(b"the former owner's data")
    return replace(spec, put_after=int(time.time()))


def _in_the_same_second(image: Path, spec: DiskSpec) -> DiskSpec:
    """Made just before the record, perhaps."""
    return replace(spec, put_after=int(done(["stat", "--format=%W", str(image)])))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(_in_the_same_second, ": it was made in the second in which ", id="same second"),
        pytest.param(_as_if_older, ": it was there before the machine had this disk", id="older"),
        pytest.param(_with_other_owner, ": others than root may write it", id="another user's"),
        pytest.param(_with_mode(0o664), ": others than root may write it", id="a group may write"),
        pytest.param(_with_mode(0o646), ": others than root may write it", id="all may write"),
        pytest.param(lambda image, spec: replace(spec, put_after=0), " that is there", id="shared or moved"),
    ],
)
def test_a_file_that_may_not_be_meant_for_the_machine_stays_nobody_s(
    attacked: Attacked, change: Callable[[Path, DiskSpec], DiskSpec], reason: str
) -> None:
    """A removed cluster's disk is not booted by its namesake, and nothing that a local user can write."""
    image, since = attacked.images / "vm.vda", int(time.time()) - 1
    image.write_bytes(b"the former owner's data")
    spec = change(image, attacked.spec(image, put_after=since))
    before = image.stat().st_mode, image.stat().st_uid
    error = attacked.start(spec)
    assert error.startswith("nobody is known to own the disk") and reason in error, error
    assert (image.stat().st_mode, image.stat().st_uid) == before
    with pytest.raises(OSError, match="No data"):
        os.getxattr(image, ATTRIBUTE)


def test_a_file_of_another_format_is_taken_when_it_is_converted(attacked: Attacked) -> None:
    """The command of the error makes a disk of it. An empty file is not taken, and a qcow2 one where the disk is."""
    image, since = attacked.images / "vm.vda", int(time.time()) - 1
    done(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "1M"])
    spec = attacked.spec(image, put_after=since)
    new = attacked.images / "new"
    error = attacked.start(spec)
    assert (
        "is not taken as its disk: its format is qcow2, and that of the disk is raw. On the host: " in error
    )
    assert ATTRIBUTE not in os.listxattr(image)
    command = re.search(r"(qemu-img convert .*) NEW, and move NEW to its place", error)
    assert command
    done([*shlex.split(command[1]), str(new)])
    new.rename(image)
    assert attacked.start(spec) == "" and image.stat().st_size == 1 << 20
    other = attacked.images / "vm.vdb"
    other.touch(0o600)
    assert "is not taken as its disk: it is empty. Copy an image to it, or" in attacked.start(
        attacked.spec(other, put_after=since)
    )
    assert ATTRIBUTE not in os.listxattr(other)
    done(["qemu-img", "create", "-q", "-f", "qcow2", str(other), "1M"])
    assert attacked.start(attacked.spec(other, put_after=since, format="qcow2")) == ""


def test_a_file_that_is_still_copied_is_not_the_machine_s_yet(attacked: Attacked) -> None:
    image, since = attacked.images / "vm.vda", int(time.time()) - 1
    with subprocess.Popen(["sh", "-c", f"exec cat >{image}"], stdin=subprocess.PIPE) as copying:
        wait_until(image.exists, "the copy")
        error = attacked.start(attacked.spec(image, put_after=since))
        assert f"{image} is in use by process {copying.pid}" in error
        assert copying.stdin is not None
        copying.stdin.write(b"copied into place")
        copying.stdin.close()
    assert attacked.start(attacked.spec(image, put_after=since)) == ""


def test_without_marks_of_the_file_system_nothing_is_taken(
    attacked: Attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On NFS the record of a removed machine's disk is on the host that made it: here it is as if nobody's."""

    def without(*arguments: object) -> bytes:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", without)
    monkeypatch.setattr(os, "getxattr", without)
    image, since = attacked.images / "vm.vda", int(time.time()) - 1
    image.write_bytes(b"another host's")
    assert "its file system keeps no marks of owners" in attacked.start(attacked.spec(image, put_after=since))


@pytest.mark.slow
def test_the_mark_is_root_s_alone(attacked: Attacked) -> None:
    """The owner of the file can neither read nor write it."""
    image = attacked.images / "vm.vda"
    assert attacked.start(attacked.spec(image)) == ""
    os.chown(image, NOBODY, NOBODY)
    attacked.images.chmod(0o755)
    for folder in attacked.images.parents:
        if not folder.stat().st_mode & 0o001:  # of pytest: two of them, three in a worker of pytest-xdist
            folder.chmod(0o711)
    code = (
        f"import os\nos.setgid({NOBODY}); os.setuid({NOBODY})\n"
        f"open({str(image)!r}).close()\n"
        f"try: os.setxattr({str(image)!r}, {ATTRIBUTE!r}, b'x')\nexcept PermissionError: print('refused')"
    )
    done = subprocess.run(["python3", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "refused\n", done.stderr
    assert os.getxattr(image, ATTRIBUTE).decode() == MINE


def test_a_file_system_without_attributes_has_a_record(
    attacked: Attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS: by path and inode, so that a file that replaces the image is nobody's."""

    def without(*arguments: object) -> bytes:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", without)
    monkeypatch.setattr(os, "getxattr", without)
    image = attacked.images / "vm.vda"
    assert attacked.start(attacked.spec(image)) == ""
    assert attacked.start(attacked.spec(image)) == ""
    assert "belongs to another" in attacked.start(attacked.spec(image, machine=THEIRS))
    (attacked.images / "new").write_bytes(b"a new file")
    (attacked.images / "new").rename(image)
    assert "nobody is known to own" in attacked.start(attacked.spec(image))


def test_links(attacked: Attacked, tmp_path: Path) -> None:
    """Symbolic links to root's files, hard links to another's image, folders that are links."""
    secret = tmp_path / "shadow"
    secret.write_text("root:hash")
    secret.chmod(0o600)
    (attacked.images / "soft.vda").symlink_to(secret)
    os.link(secret, attacked.images / "hard.vda")
    (attacked.images / "folder").symlink_to(tmp_path)
    for name, fault in (
        ("soft.vda", "is a symbolic link"),
        ("hard.vda", "is linked: the file has 2 names"),
        ("folder/shadow", "is a symbolic link"),
    ):
        assert fault in attacked.start(attacked.spec(attacked.images / name)), name
    (attacked.images / "hard.vda").unlink()
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("root:hash", 0o600)
    refused(OSError, "No data", os.getxattr, secret, ATTRIBUTE)


def test_another_kind_of_file(attacked: Attacked) -> None:
    """A FIFO does not make the agent wait, and a file outside of the image directory is not looked at."""
    os.mkfifo(attacked.images / "fifo")
    assert "is not an image file" in attacked.start(attacked.spec(attacked.images / "fifo"))
    shadow = Path("/etc/shadow")
    assert "is not below the image directory" in attacked.start(attacked.spec(shadow))
    mode = shadow.stat().st_mode & 0o777
    assert "symbolic link" not in attacked.start(attacked.spec(shadow, directory="/var"))
    assert shadow.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
def test_folders_that_others_can_change(attacked: Attacked, tmp_path: Path, mode: int) -> None:
    """A local user could put another file there between the check and QEMU."""
    os.chown(attacked.images, 0, NOBODY)
    attacked.images.chmod(mode)
    assert "is not safe for disk images" in attacked.start(attacked.spec(attacked.images / "vm.vda"))
    assert not (attacked.images / "vm.vda").exists()
    users = tmp_path / "users"
    (users / "images").mkdir(parents=True)
    os.chown(users, NOBODY, NOBODY)
    spec = attacked.spec(users / "images" / "vm.vda", directory=str(users / "images"))
    assert f"{users} is not safe for disk images" in attacked.start(spec)


def test_in_a_folder_that_others_can_change_what_is_not_there_is_removed_already(attacked: Attacked) -> None:
    """A removal of machines names no disk that was never made; a file that is there stays."""
    image = attacked.images / "vm.vda"
    attacked.images.chmod(0o777)
    removal = RemoveImageRequest(str(image), str(attacked.images), False, "")
    assert not ask(attacked.host, removal).changed
    image.write_bytes(b"not ours")
    refused(StateError, "is not safe for disk images", ask, attacked.host, removal)
    assert image.exists()


def test_an_image_directory_behind_a_link(attacked: Attacked, tmp_path: Path) -> None:
    """The site's own link is followed, a link in a folder of others is not."""
    (tmp_path / "export").symlink_to(attacked.images)
    link = tmp_path / "export"
    assert attacked.start(attacked.spec(link / "vm.vda", directory=str(link))) == ""
    assert (attacked.images / "vm.vda").stat().st_size == 1000**3
    users = tmp_path / "users"
    users.mkdir()
    os.chown(users, NOBODY, NOBODY)
    (users / "link").symlink_to(attacked.images)
    spec = attacked.spec(users / "link" / "vm.vda", directory=str(users / "link"))
    assert "is not safe for disk images" in attacked.start(spec)


def test_a_user_s_file_is_not_an_image(attacked: Attacked) -> None:
    """Its owner may have it open."""
    image = attacked.images / "vm.vda"
    assert attacked.start(attacked.spec(image)) == ""
    os.chown(image, NOBODY, NOBODY)
    assert f"belongs to user {NOBODY}" in attacked.start(attacked.spec(image))


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
def test_images_that_refer_to_other_files(attacked: Attacked, tmp_path: Path) -> None:
    """A backing file, or an external data file, in a header that a guest wrote while its disk was raw."""
    (tmp_path / "secret").write_bytes(bytes(1024**2))
    backing, data = attacked.images / "backing", attacked.images / "data"
    made = ["qemu-img", "create", "-q", "-f", "qcow2"]
    backed = ["-b", str(tmp_path / "secret"), "-F", "raw"]
    done([*made, *backed, str(backing)])
    done([*made, "-o", f"data_file={tmp_path}/data", str(data), "1M"])
    done(["qemu-img", "create", "-q", "-f", "qed", str(attacked.images / "qed"), "1M"])
    done(["qemu-img", "create", "-q", "-f", "qed", *backed, str(attacked.images / "qed-backing")])
    for name in ("backing", "data", "qed", "qed-backing"):
        attacked.give(attacked.images / name)
    for name, kind, fault in (
        ("backing", "qcow2", "refers to another file"),
        ("data", "qcow2", "refers to another file"),
        ("qed-backing", "qed", "refers to another file"),
        ("qed", "qcow2", "is not a qcow2 image"),
        ("backing", "raw", ""),
        ("qed", "qed", ""),
    ):
        error = attacked.start(attacked.spec(attacked.images / name, format=kind))
        assert fault in error and bool(fault) == bool(error), (name, kind, error)


def test_a_disk_that_is_replaced_while_the_machine_starts(
    attacked: Attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the domain is defined and before its guest runs: by rename, or by a link."""
    image = attacked.images / "vm.vda"
    define = attacked.domains.define

    def replaced_by(make: object) -> str:
        def with_race(xml: str) -> None:
            define(xml)
            image.unlink()
            make()  # type: ignore[operator]

        monkeypatch.setattr(attacked.domains, "define", with_race)
        return attacked.start(attacked.spec(image))

    fault = "was replaced while the machine was starting"
    assert fault in replaced_by(lambda: image.write_bytes(b""))
    image.unlink()
    assert fault in replaced_by(lambda: image.symlink_to("/etc/shadow"))


def test_a_disk_that_is_replaced_while_the_guest_is_paused(attacked: Attacked) -> None:
    """The lease has the disk's identity, and a resume compares."""
    image = attacked.images / "vm.vda"
    assert attacked.perform(attacked.operation(attacked.spec(image))) == ""
    attacked.domains.suspend("vm")
    image.rename(attacked.images / "old")
    image.write_bytes(b"")
    assert "was replaced" in attacked.perform(ResumeDomain("vm"))
    assert attacked.domains.find("vm").state == "paused"
    (attacked.images / "old").rename(image)
    assert attacked.perform(ResumeDomain("vm")) == ""


def test_only_qemu_enters_the_folder(attacked: Attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that this system makes has QEMU's group; with an account of libvirt's on the host."""
    monkeypatch.setattr(files, "qemu_owner", lambda: QemuOwner(64055, 64055))
    assert attacked.start(attacked.spec(attacked.images / "below" / "vm.vda")) == ""
    status = (attacked.images / "below").stat()
    assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o710, 0, 64055)


def test_a_folder_of_the_site_keeps_its_mode(attacked: Attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a /home of mode 0711, whose users must still enter it."""
    monkeypatch.setattr(files, "qemu_owner", lambda: QemuOwner(64055, 64055))
    before = attacked.images.stat()
    assert attacked.start(attacked.spec(attacked.images / "vm.vda")) == ""
    with files.opened_folder(str(attacked.images)):
        status = attacked.images.stat()
    assert (status.st_mode & 0o777, status.st_gid) == (0o711, before.st_gid)


def test_a_medium_is_read_only_and_belongs_to_no_machine(attacked: Attacked) -> None:
    """The same paths are allowed; nothing is made, and nothing about the file changes."""
    medium = attacked.images / "install.iso"
    assert "there is no file" in attacked.start(attacked.spec(medium, is_cdrom=True))
    medium.write_bytes(b"CD001")
    medium.chmod(0o644)
    assert attacked.start(attacked.spec(medium, is_cdrom=True)) == ""
    assert medium.stat().st_mode & 0o777 == 0o644
    medium.unlink()
    medium.symlink_to("/etc/shadow")
    assert "is a symbolic link" in attacked.start(attacked.spec(medium, is_cdrom=True))


def test_a_disk_or_a_private_file_is_no_medium(attacked: Attacked) -> None:
    disk = attacked.images / "another.vda"
    assert attacked.start(attacked.spec(disk)) == ""
    disk.chmod(0o644)
    assert "it is the disk of a machine" in attacked.start(attacked.spec(disk, is_cdrom=True))
    private = attacked.images / "private.iso"
    private.write_bytes(b"CD001")
    private.chmod(0o600)
    assert f"chmod o+r {private}" in attacked.start(attacked.spec(private, is_cdrom=True))


def test_images_are_listed_and_removed_for_their_owner_only(attacked: Attacked, tmp_path: Path) -> None:
    """A link in the directory is not an image; an overwritten one is zeros before it goes."""
    image, place = attacked.images / "vm.vda", str(attacked.images)
    assert attacked.start(attacked.spec(image)) == ""
    (attacked.images / "link").symlink_to("/etc/shadow")
    (fact,) = ask(attacked.host, ImagesRequest((place,))).images
    assert (fact.path, fact.machine, fact.size_bytes, fact.user) == (str(image), MINE, 1000**3, "")
    image.write_bytes(b"data")
    with pytest.raises(StateError, match="belongs to"):
        ask(attacked.host, RemoveImageRequest(str(image), place, False, THEIRS))
    with pytest.raises(StateError, match="is not below the image directory"):
        ask(attacked.host, RemoveImageRequest("/etc/shadow", place, False, ""))
    assert image.read_bytes() == b"data"
    os.link(image, tmp_path / "second")
    refused(StateError, "is linked", ask, attacked.host, RemoveImageRequest(str(image), place, False, MINE))
    (tmp_path / "second").unlink()
    assert ask(attacked.host, RemoveImageRequest(str(image), place, False, MINE, "overwrite")).changed
    assert not image.exists()
    assert not ask(attacked.host, RemoveImageRequest(str(image), place, False, MINE)).changed


def test_a_path_that_leads_elsewhere_than_its_folders(attacked: Attacked, tmp_path: Path) -> None:
    """QEMU opens the path by itself: a folder that was exchanged meanwhile must not give it another file."""
    for place in ("images", "exchanged"):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "vm.vda").write_bytes(b"")
    with (
        files.opened_folder(str(attacked.images)) as folder,
        pytest.raises(StateError, match="leads to another file than its folders do"),
    ):
        files.open_file(folder, "vm.vda", str(tmp_path / "exchanged" / "vm.vda"))


def test_names_that_are_no_text_hide_no_other_image(attacked: Attacked) -> None:
    """They are listed with escapes, and an escaped name leads to no file."""
    image, place = attacked.images / "vm.vda", str(attacked.images)
    assert attacked.start(attacked.spec(image)) == ""
    strange = [b"a\nb", b"\xff", b"\x1b]0;title\x07", "\u202eadv".encode(), b"a\\nb"]
    for name in strange:
        Path(os.fsdecode(os.fsencode(place) + b"/" + name)).write_bytes(b"")
    folder = Path(os.fsdecode(os.fsencode(place) + b"/\xfe\n"))
    folder.mkdir()
    (folder / "inner").write_bytes(b"")
    found = {fact.path: fact.machine for fact in ask(attacked.host, ImagesRequest((place,))).images}
    assert found[str(image)] == MINE
    names = ["a\\nb", "\\udcff", "\\x1b]0;title\\x07", "\\u202eadv", "\\udcfe\\n/inner", "vm.vda"]
    assert set(found) >= {f"{place}/{name}" for name in names}
    escaped = f"{place}/\\x1b]0;title\\x07"
    assert not ask(attacked.host, RemoveImageRequest(escaped, place, False, "")).changed
    assert len(list(attacked.images.iterdir())) == len(strange) + 2
