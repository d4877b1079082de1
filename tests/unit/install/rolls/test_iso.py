"""ISOs of rolls: the same bytes twice, and nothing of a damaged, foreign or hostile one."""

import contextlib
import os
import random
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.core.errors import RocksError, ToolError, UserError
from rocks.core.process import run_checked
from rocks.install.rolls.content import RollId, read_roll
from rocks.install.rolls.iso import create_roll, extract_roll, find_rolls
from rocks.install.rolls.signatures import MANIFEST, check_manifest, manifest_text
from rocks.library.xorriso import write_iso
from tests.rolls import write_roll
from tests.waiting import wait_until

ROLL = RollId("hello", "1.0", "noarch")
PLACE = "hello/1.0/noarch"

pytestmark = pytest.mark.skipif(
    shutil.which("xorriso") is None, reason="xorriso is not installed (tools/setup test)"
)


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    """The ISO of a small roll."""
    return create_roll(write_roll(tmp_path / "source"), tmp_path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The tree of a roll's ISO, to be changed and written by `foreign_iso`."""
    folder = tmp_path / "tree" / PLACE
    description = write_roll(folder)
    (folder / MANIFEST).write_text(manifest_text(folder))
    assert description.exists()
    return tmp_path / "tree"


def foreign_iso(tree: Path, *options: str) -> Path:
    """An ISO of any tree, as another program would write it."""
    iso = tree.with_name("foreign.iso")
    run_checked(
        ["xorriso", "-no_rc", "-as", "mkisofs", "-quiet", "-r", *options, "-o", str(iso), str(tree)],
        deadline_seconds=60,
    )
    return iso


def added(iso: Path, folder: Path) -> dict[str, bytes]:
    """The files that adding the ISO's rolls would add; a RocksError when it is refused."""
    files: dict[str, bytes] = {}
    for number, roll in enumerate(find_rolls(iso)):
        place = folder / str(number)
        extract_roll(iso, roll, place)
        check_manifest(place, str(iso))
        read_roll(place, roll, str(iso))
        files |= {str(path.relative_to(folder)): path.read_bytes() for path in below(place)}
    return files


def below(folder: Path) -> Iterator[Path]:
    """All files below a folder."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def test_the_same_sources_give_the_same_bytes(tmp_path: Path, iso: Path) -> None:
    first = iso.read_bytes()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    again = create_roll(write_roll(elsewhere / "deeper"), elsewhere)
    assert again.read_bytes() == first
    assert again.name == "hello-1.0-1.noarch.disk1.iso"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


@pytest.mark.slow
def test_the_signal_that_ends_xorriso_is_named(tmp_path: Path) -> None:
    tree, iso = tmp_path / "tree", tmp_path / "large.iso"
    tree.mkdir()
    (tree / "large").touch()
    os.truncate(tree / "large", 2**32 - 2048)
    this = os.getpid()

    def end() -> None:
        wait_until(iso.exists)
        for child in Path(f"/proc/{this}/task/{this}/children").read_text().split():
            with contextlib.suppress(OSError):  # another child that has ended
                if Path(f"/proc/{child}/comm").read_text() == "xorriso\n":
                    os.kill(int(child), signal.SIGTERM)

    threading.Thread(target=end).start()
    with pytest.raises(ToolError, match=r"xorriso did not write \S+/large.iso: SIGTERM ended it"):
        write_iso(tree, iso, "large", 1)


def test_what_is_read_is_what_was_written(tmp_path: Path, iso: Path) -> None:
    assert find_rolls(iso) == [ROLL]
    extract_roll(iso, ROLL, tmp_path / "out")
    check_manifest(tmp_path / "out", "the roll")
    content = read_roll(tmp_path / "out", ROLL, "the roll")
    assert content.nodes == {"hello"} and content.commands == {("report", "hello")}
    assert [(edge.parent, edge.child) for edge in content.graph.edges] == [("compute", "hello")]
    assert 'roll="hello"' in (tmp_path / "out/nodes/hello.xml").read_text()
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out/nodes/hello.xml").stat().st_mode & 0o777 == 0o644


@pytest.mark.slow
@pytest.mark.parametrize("part", [0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99])
def test_an_iso_that_is_cut_off_is_refused(tmp_path: Path, iso: Path, part: float) -> None:
    short = tmp_path / "short.iso"
    short.write_bytes(iso.read_bytes()[: int(iso.stat().st_size * part)])
    with pytest.raises(UserError, match=r"short\.iso (is not an ISO|is cut off)"):
        added(short, tmp_path / "out")


def test_an_altered_iso_is_refused_or_has_the_same_roll(tmp_path: Path, iso: Path) -> None:
    """Bytes between the files may have any value; those of names, places and contents may not."""
    data = bytearray(iso.read_bytes())
    (tmp_path / "whole").mkdir()
    expected = added(iso, tmp_path / "whole")
    used = [place for place in range(16 * 2048, len(data)) if data[place]]
    dice = random.Random(20)
    refused = 0
    for number in range(15):
        altered = bytearray(data)
        for place in dice.sample(used, 3):
            altered[place] ^= dice.randrange(1, 256)
        changed = tmp_path / "altered.iso"
        changed.write_bytes(altered)
        out = tmp_path / f"out{number}"
        out.mkdir()
        try:
            assert added(changed, out) == expected
        except RocksError as error:
            refused += 1
            assert "altered.iso" in str(error) or "roll" in str(error)
    assert refused > 2


def test_a_link_is_refused_before_anything_is_extracted(tmp_path: Path, tree: Path) -> None:
    (tree / PLACE / "include").symlink_to("/etc")
    with pytest.raises(UserError, match="has a file that no roll has"):
        added(foreign_iso(tree), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["include/link", "include", ""])
def test_a_link_that_comes_after_the_list_changes_nothing_outside(
    tmp_path: Path, tree: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner of the image's file can exchange it between the two readings of it."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "secret").write_text("x")
    (outside / "secret").chmod(0o600)
    link = tree / PLACE / place
    if not place:
        shutil.rmtree(link)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside / "secret" if place == "include/link" else outside)
    monkeypatch.setattr("rocks.install.rolls.iso._check_listing", lambda iso, source: 0)
    with pytest.raises(UserError, match="get it again"):
        extract_roll(foreign_iso(tree), ROLL, tmp_path / "out")
    assert (outside.stat().st_mode & 0o777, (outside / "secret").stat().st_mode & 0o777) == (0o700, 0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's files get the owners that an image states")
def test_files_of_an_image_belong_to_whom_adds_it(tmp_path: Path, tree: Path) -> None:
    """Commands of a roll are executed by root: no local user may own one, whatever the image says."""
    extract_roll(foreign_iso(tree, "-uid", "12345", "-gid", "12345"), ROLL, tmp_path / "out")
    found = [tmp_path / "out", *(tmp_path / "out").rglob("*")]
    assert len(found) > 5
    assert {(path.stat().st_uid, path.stat().st_gid) for path in found} == {(0, os.getegid())}


def test_python_that_is_nested_too_deeply_is_refused(tmp_path: Path, tree: Path) -> None:
    (tree / PLACE / "commands/report/hello/__init__.py").write_text(f"x = {'-' * 200_000}1\n")
    (tree / PLACE / MANIFEST).write_text(manifest_text(tree / PLACE))
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="nested too deeply"):
        added(foreign_iso(tree), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("include/not in the manifest", "has a file that no roll has"),
        ("include/more", "its manifest SHA256SUMS does not name include/more"),
        ("etc/passwd", "its manifest SHA256SUMS does not name etc/passwd"),
    ],
)
def test_a_file_that_the_manifest_does_not_name_is_refused(
    tmp_path: Path, tree: Path, name: str, message: str
) -> None:
    (tree / PLACE / name).parent.mkdir(exist_ok=True)
    (tree / PLACE / name).write_text("x")
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=message):
        added(foreign_iso(tree), tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "nodes/hello.xml").unlink(), "nodes/hello.xml of its manifest"),
        (lambda folder: (folder / "nodes/hello.xml").write_text("<kickstart/>"), "another checksum"),
        (lambda folder: (folder / MANIFEST).unlink(), "has no manifest"),
        (lambda folder: (folder / MANIFEST).write_text(f"{'0' * 64}  ../../x\n"), "line 1 of SHA256SUMS"),
        (lambda folder: (folder / MANIFEST).write_text("nothing\n"), "line 1 of SHA256SUMS"),
        (lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe"), "cannot be read"),
    ],
)
def test_a_manifest_that_does_not_hold_is_refused(
    tmp_path: Path, tree: Path, change: object, message: str
) -> None:
    assert callable(change)
    change(tree / PLACE)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=message):
        added(foreign_iso(tree), tmp_path / "out")


def test_a_description_of_another_roll_is_refused(tmp_path: Path, tree: Path) -> None:
    file = tree / PLACE / "roll-hello.xml"
    file.write_text(file.read_text().replace('version="1.0"', 'version="2.0"'))
    (tree / PLACE / MANIFEST).write_text(manifest_text(tree / PLACE))
    (tmp_path / "out").mkdir()
    with pytest.raises(
        UserError, match=r"that of the roll hello 1\.0 noarch, and .* describes hello 2\.0 noarch"
    ):
        added(foreign_iso(tree), tmp_path / "out")


def test_a_file_where_a_roll_has_none_is_refused(tmp_path: Path, tree: Path) -> None:
    (tree / PLACE / "etc").mkdir()
    (tree / PLACE / "etc/passwd").write_text("x")
    (tree / PLACE / MANIFEST).write_text(manifest_text(tree / PLACE))
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="etc/passwd is in a place where a roll has no such file"):
        added(foreign_iso(tree), tmp_path / "out")


def test_a_foreign_iso_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tree/pool").mkdir(parents=True)
    (tmp_path / "tree/.disk").write_text("Debian\n")
    (tmp_path / "tree/pool/roll-hello.xml").write_text("<roll/>")
    with pytest.raises(UserError, match="is not the ISO of a roll: it has no NAME/VERSION/ARCH"):
        find_rolls(foreign_iso(tmp_path / "tree"))


def test_what_is_no_iso_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.iso"
    other.write_bytes(os.urandom(100_000))
    with pytest.raises(UserError, match=r"other\.iso is not an ISO"):
        find_rolls(other)
    with pytest.raises(UserError, match="cannot read .*absent.iso: No such file or directory"):
        find_rolls(tmp_path / "absent.iso")
    with pytest.raises(UserError, match="is neither a file nor a drive"):
        find_rolls(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe is neither a file nor a drive"):
        find_rolls(tmp_path / "pipe")


@pytest.mark.slow
@pytest.mark.parametrize("hostile", [b"..", b"/x", b".x"])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, tree: Path, hostile: bytes) -> None:
    """A name on an ISO may be anything: here the folder `up` and the file in it are renamed in the image's bytes."""
    (tree / PLACE / "include/up").mkdir(parents=True)
    (tree / PLACE / "include/up/xy").write_text("x")
    (tree / PLACE / MANIFEST).write_text(manifest_text(tree / PLACE))
    iso = foreign_iso(tree)
    data = iso.read_bytes()
    for name in (b"up", b"xy"):
        assert b"NM\x07\x01\x00" + name in data
        data = data.replace(b"NM\x07\x01\x00" + name, b"NM\x07\x01\x00" + hostile)
    iso.write_bytes(data)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError):
        added(iso, tmp_path / "out")
    assert [path for path in tmp_path.rglob("xy") if tree not in path.parents] == []


def test_files_that_are_larger_than_the_image_are_refused(tmp_path: Path, tree: Path) -> None:
    """Many names may share the bytes of one large file."""
    (tree / PLACE / "include").mkdir()
    (tree / PLACE / "include/a").write_bytes(b"x" * 5_000_000)
    for number in range(3):
        (tree / PLACE / f"include/b{number}").hardlink_to(tree / PLACE / "include/a")
    (tree / PLACE / MANIFEST).write_text(manifest_text(tree / PLACE))
    iso = tmp_path / "linked.iso"
    run_checked(
        [
            "xorriso",
            "-no_rc",
            "-hardlinks",
            "on",
            "-as",
            "mkisofs",
            "-quiet",
            "-r",
            "-o",
            str(iso),
            str(tree),
        ],
        deadline_seconds=60,
    )
    if iso.stat().st_size > 10_000_000:
        pytest.skip("this xorriso writes every hard link as a file")
    with pytest.raises(UserError, match="bytes, more than itself"):
        added(iso, tmp_path / "out")
